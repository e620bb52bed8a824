/** Options for debugging a guest or QEMU. */
export interface DebugOptions {
  /**
   * If true, the vCPUs stay paused until `vm.qmp.execute('cont')` or a debugger resumes them (QEMU:
   * `-S`).
   * @default false
   */
  readonly paused?: boolean | undefined
  /**
   * Enables the GDB server: `true` listens on a unix socket in the run's folder; a number listens
   * on that TCP port of 127.0.0.1. `vm.gdb` is the command that connects GDB. GDB has access to
   * QEMU's monitor, and therefore to files and processes of the user who runs QEMU. The socket is
   * open to that user only, but a port is open to **every local user** (QEMU: `-gdb`).
   * @default false
   */
  readonly gdb?: boolean | number | undefined
  /** QEMU log items, as listed by `qemu -d help` (QEMU: `-d`). @default none */
  readonly log?: readonly string[] | undefined
  /**
   * File for the QEMU log (QEMU: `-D`).
   * @default QEMU's standard error, which is part of a failure's report
   */
  readonly logFile?: string | undefined
}

/** Debugging. */
export interface DebugOptionGroup {
  /** Options for debugging the guest or QEMU (QEMU: `-S`, `-gdb`, `-d`). @default none */
  readonly debug?: DebugOptions | undefined
}
