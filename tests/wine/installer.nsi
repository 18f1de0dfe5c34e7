; An installer with the parts of Tauri's that touch the sidecar, in Tauri's order (installer.nsi of tauri-bundler).
; With /REFUSE it ends where Tauri asks whether to close the app, as if the user had refused.
Unicode true
Target amd64-unicode
RequestExecutionLevel user
SilentInstall silent
SilentUnInstall silent
OutFile "${OUT}"
!include FileFunc.nsh
!include LogicLib.nsh
!ifdef HOOKS
  !include "${HOOKS}"
!endif
!define MAINBINARYNAME "app"

!macro CloseApp
  ${GetParameters} $R0
  ClearErrors
  ${GetOptions} $R0 "/REFUSE" $R1
  ${IfNot} ${Errors}
    Abort
  ${EndIf}
!macroend

Section Install
  SetOutPath $INSTDIR
  StrCpy $0 "kept"
  StrCpy $1 "too"
  !ifmacrodef NSIS_HOOK_PREINSTALL
    !insertmacro NSIS_HOOK_PREINSTALL
  !endif
  !insertmacro CloseApp
  File "/oname=sidecar.exe" "${NEW}"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  !ifmacrodef NSIS_HOOK_POSTINSTALL
    !insertmacro NSIS_HOOK_POSTINSTALL
  !endif
  FileOpen $2 "$INSTDIR\registers" w
  FileWrite $2 "$0 $1"
  FileClose $2
SectionEnd

Section Uninstall
  !ifmacrodef NSIS_HOOK_PREUNINSTALL
    !insertmacro NSIS_HOOK_PREUNINSTALL
  !endif
  Delete "$INSTDIR\sidecar.exe"
  Delete "$INSTDIR\registers"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  !ifmacrodef NSIS_HOOK_POSTUNINSTALL
    !insertmacro NSIS_HOOK_POSTUNINSTALL
  !endif
SectionEnd
