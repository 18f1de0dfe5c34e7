import { showMessage } from "./view.ts";

// Edit this line while the dev server runs: the page follows, without a reload.
export const message = "Change this sentence, save, and watch it arrive.";

showMessage(message);

if (import.meta.hot) {
  import.meta.hot.accept();
}
