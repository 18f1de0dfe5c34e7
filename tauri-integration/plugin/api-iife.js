// Made by build.js of guest-js/index.ts.
if ("__TAURI__" in window) {
  ((exports, require) => {
    "use strict";
    Object.defineProperty(exports, "__esModule", { value: true });
    exports.Service = exports.SidecarError = void 0;
    exports.start = start;
    exports.stop = stop;
    exports.restart = restart;
    exports.status = status;
    exports.logs = logs;
    exports.url = url;
    exports.whenReady = whenReady;
    exports.token = token;
    exports.retry = retry;
    exports.on = on;
    exports.service = service;
    const core_1 = require("@tauri-apps/api/core");
    const event_1 = require("@tauri-apps/api/event");
    class SidecarError extends Error {
        name = "SidecarError";
        kind;
        code;
        data;
        constructor(refusal) {
            if (isRefusal(refusal)) {
                super(refusal.message);
                this.kind = refusal.kind;
                if (refusal.code !== undefined)
                    this.code = refusal.code;
                if (refusal.data !== undefined)
                    this.data = refusal.data;
            }
            else {
                super(refusal instanceof Error ? refusal.message : String(refusal), { cause: refusal });
                this.kind = / not allowed\b/.test(this.message) ? "PermissionDenied" : "TauriError";
            }
        }
    }
    exports.SidecarError = SidecarError;
    function isRefusal(refusal) {
        return typeof refusal === "object" && refusal !== null && "kind" in refusal && "message" in refusal;
    }
    async function call(command, parameters) {
        return refusing((0, core_1.invoke)(`plugin:sidecar|${command}`, parameters));
    }
    async function refusing(answer) {
        try {
            return await answer;
        }
        catch (refusal) {
            throw new SidecarError(refusal);
        }
    }
    function start(service) {
        return call("start", { service });
    }
    function stop(service) {
        return call("stop", { service });
    }
    function restart(service) {
        return call("restart", { service });
    }
    function status() {
        return call("status");
    }
    function logs(service, tail = 100) {
        return call("logs", { service, tail });
    }
    function url(service) {
        return call("url", { service });
    }
    function whenReady(service) {
        return call("when_ready", { service });
    }
    function token(service) {
        return call("token", { service });
    }
    function retry() {
        return call("retry");
    }
    async function on(name, handler) {
        if (name !== "log") {
            return refusing((0, event_1.listen)(`sidecar://${name}`, ({ payload }) => handler(payload)));
        }
        const channel = new core_1.Channel(handler);
        await call("follow_logs", { channel });
        return () => {
            channel.onmessage = () => undefined;
            void call("unfollow_logs", { channel: channel.id });
        };
    }
    class Service {
        name;
        constructor(name) {
            this.name = name;
        }
        get origin() {
            return window.__SIDECAR__?.services[this.name]?.origin;
        }
        url() {
            return url(this.name);
        }
        async status() {
            const found = (await status())[this.name];
            if (found)
                return found;
            throw new SidecarError({ kind: "UnknownService", message: `There is no service ${this.name}.` });
        }
        whenReady() {
            return whenReady(this.name);
        }
        token() {
            return token(this.name);
        }
        start() {
            return start(this.name);
        }
        stop() {
            return stop(this.name);
        }
        restart() {
            return restart(this.name);
        }
        logs(tail) {
            return logs(this.name, tail);
        }
    }
    exports.Service = Service;
    function service(name) {
        return new Service(name);
    }
    Object.defineProperty(window.__TAURI__, "sidecar", { value: exports });
  })({}, (name) => window.__TAURI__[name.split("/").at(-1)]);
}
