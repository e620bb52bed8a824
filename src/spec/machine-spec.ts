import type { BaseImage } from './base-image.js'
import type { AccelOption, ReadyOption } from './options.js'

/** One forwarded port. `host` is undefined where any free port will do. */
export interface PortForward {
  readonly protocol: 'tcp' | 'udp'
  readonly bind: string
  readonly host: number | undefined
  readonly guest: number
}

/** How this machine is logged in to. */
export interface SshSpec {
  readonly user: string
  readonly guestPort: number
  /** What the author gave; undefined where the run makes a key and gives it to the guest at boot. */
  readonly login: { readonly privateKey?: string | Buffer; readonly password?: string } | undefined
}

/** How long the run waits, milliseconds, as given by the author: not to be stretched. */
export interface TimeoutSpec {
  readonly startMs: number | undefined
  readonly bodyMs: number | undefined
  readonly commandMs: number | undefined
  readonly shutdownMs: number | undefined
}

/** A whole, valid description of one machine: nothing optional is left to decide but what only a run can know. */
export interface MachineSpec<VM = unknown> {
  readonly name: string
  readonly accel: AccelOption
  readonly qemu: string | undefined
  readonly machine: string
  /** Undefined: the default of whichever accelerator is chosen. */
  readonly cpu: string | undefined
  readonly cpus: number
  readonly memoryBytes: number
  readonly bootOrder: string | undefined
  readonly directBoot:
    | { readonly kernel: string; readonly initrd: string | undefined; readonly append: string }
    | undefined
  readonly image: BaseImage | undefined
  readonly network: {
    readonly model: string
    readonly mac: string | undefined
    readonly internet: boolean
    readonly tftp: string | undefined
    readonly bootfile: string | undefined
  }
  /** All forwarded ports; the one for SSH first, where there is SSH. */
  readonly forwards: readonly PortForward[]
  readonly ssh: SshSpec | undefined
  readonly ready: ReadyOption<VM>
  readonly timeouts: TimeoutSpec
  readonly qemuArgs: readonly string[]
}
