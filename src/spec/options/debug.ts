/** What helps a person who looks into a guest or into QEMU. */
export interface DebugOptions {
  /** Whether the processors wait, until `vm.qmp.execute('cont')` or a debugger lets them go (QEMU: `-S`). @default false */
  readonly paused?: boolean
  /** The port of 127.0.0.1 on which a GDB is served: `target remote 127.0.0.1:1234` (QEMU: `-gdb tcp:127.0.0.1:`). @default none */
  readonly gdb?: number
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
