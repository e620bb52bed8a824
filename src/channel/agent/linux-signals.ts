/**
 * Signals of Linux from 1 on (signal(7), x86 and ARM): numbers of the guest, independent of the
 * host.
 */
const NAMES =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  )

export function signalName(signal: number): string {
  const name = NAMES[signal - 1]
  return name === undefined ? `signal ${signal}` : `SIG${name}`
}
