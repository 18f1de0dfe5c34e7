; Lets the NSIS installer of a Tauri app replace a sidecar that runs: name this file in tauri.conf.json as
; bundle.windows.nsis.installerHooks.
;
; Windows refuses to overwrite a program that runs, and a silent installer then keeps the old file without a word. But
; Windows lets the program be renamed. So the running sidecar gets another name, and a copy takes its place: the
; installer can overwrite that. The copy is there because Tauri inserts NSIS_HOOK_PREINSTALL before it closes the app.
; If the user does not let it close the app, nothing is installed, and the app still finds its sidecar.
;
; No process is ended here: the sidecar ends itself when the app has ended. Other apps may have a sidecar.exe, too.
;
; An app with hooks of its own includes this file after them, and inserts SidecarBefore and SidecarAfter in its own.

!include LogicLib.nsh

!ifndef SIDECAR_PROGRAM
  !define SIDECAR_PROGRAM "sidecar.exe"
!endif
!define SIDECAR_ASIDE "$INSTDIR\ns*.tmp.sidecar"

; Set $0 to 1 if a program of this name runs, else to 0.
!macro SidecarRuns program
  StrCpy $0 0
  ${If} ${FileExists} "$INSTDIR\${program}"
    ClearErrors
    FileOpen $0 "$INSTDIR\${program}" a
    ${If} ${Errors}
      StrCpy $0 1
    ${Else}
      FileClose $0
      StrCpy $0 0
    ${EndIf}
  ${EndIf}
!macroend

; Before files are replaced or deleted.
!macro SidecarBefore
  Push $0
  Push $1
  Delete "${SIDECAR_ASIDE}" ; of an earlier installation that was not finished
  ; The updater ends the app before it starts the installer. Then the sidecar ends its services and itself within
  ; seconds, after which none of their files is in use.
  ${For} $1 1 50
    !insertmacro SidecarRuns "${MAINBINARYNAME}.exe"
    ${IfThen} $0 = 1 ${|} ${Break} ${|}
    !insertmacro SidecarRuns "${SIDECAR_PROGRAM}"
    ${IfThen} $0 = 0 ${|} ${Break} ${|}
    Sleep 100
  ${Next}
  !insertmacro SidecarRuns "${SIDECAR_PROGRAM}"
  ${If} $0 = 1
    GetTempFileName $0 "$INSTDIR"
    Rename "$INSTDIR\${SIDECAR_PROGRAM}" "$0.sidecar"
    Delete "$0"
    CopyFiles /SILENT "$0.sidecar" "$INSTDIR\${SIDECAR_PROGRAM}"
  ${EndIf}
  ClearErrors
  Pop $1
  Pop $0
!macroend

; After the app was closed, and files were replaced or deleted.
!macro SidecarAfter
  Push $0
  ${For} $0 1 50
    Delete "${SIDECAR_ASIDE}"
    ${IfNot} ${FileExists} "${SIDECAR_ASIDE}"
      ${Break}
    ${EndIf}
    Sleep 100
  ${Next}
  ClearErrors
  Pop $0
!macroend

!ifmacrondef NSIS_HOOK_PREINSTALL
  !macro NSIS_HOOK_PREINSTALL
    !insertmacro SidecarBefore
  !macroend
!endif

!ifmacrondef NSIS_HOOK_POSTINSTALL
  !macro NSIS_HOOK_POSTINSTALL
    !insertmacro SidecarAfter
  !macroend
!endif

!ifmacrondef NSIS_HOOK_PREUNINSTALL
  !macro NSIS_HOOK_PREUNINSTALL
    !insertmacro SidecarBefore
  !macroend
!endif

!ifmacrondef NSIS_HOOK_POSTUNINSTALL
  !macro NSIS_HOOK_POSTUNINSTALL
    !insertmacro SidecarAfter
    RMDir "$INSTDIR" ; Tauri could not remove it before
  !macroend
!endif
