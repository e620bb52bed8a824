/** What helps a person who looks into a guest or into QEMU. */
export interface DebugOptions {
  /** Whether the processors wait, until `vm.qmp.execute('cont')` or a debugger lets them go (QEMU: `-S`). @default false */
  readonly paused?: boolean
  /**
   * Serves GDB: `true` on a unix socket in the folder of the run, a number on that port of 127.0.0.1. `vm.gdb` is the line that
   * connects. GDB reaches QEMU's monitor, and with it the files and the processes of the user who runs QEMU: the socket is open to
   * that user alone, but a port is open to **every local user** (QEMU: `-gdb`). @default false
   */
  readonly gdb?: boolean | number
  /** What QEMU logs of itself, as `qemu -d help` lists it (QEMU: `-d`). @default nothing */
  readonly log?: readonly string[]
  /** The file for that log (QEMU: `-D`). @default QEMU's standard error, which is in the report of a failure */
  readonly logFile?: string
}

/** Debugging. */
export interface DebugOptionGroup {
  /** For who looks into the guest, or into QEMU (QEMU: `-S`, `-gdb`, `-d`). @default none */
  readonly debug?: DebugOptions
}
