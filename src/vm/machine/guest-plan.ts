import type { HostUser } from '../../common/process/host-user.js'
import type { UefiFiles } from '../../host/firmware.js'
import type { QemuBinary } from '../../host/qemu-binary.js'
import type { Preparation } from '../../spec/image-definition.js'
import type { ImportReport } from '../../spec/import-report.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { ForkedState } from './forked-state.js'

/** Properties of the host that a machine depends on. */
export interface MachineHost {
  readonly qemu: QemuBinary
  readonly hasSandbox: boolean
  readonly accelerator: 'kvm' | 'tcg'
  /** Factor by which this host is slower than a host with KVM; at least 1. */
  readonly timeFactor: number
  /** Files of the UEFI firmware, for a machine that uses it. */
  readonly firmware?: UefiFiles | undefined
  /** Path of the program swtpm, for a machine with a TPM. */
  readonly swtpm?: string | undefined
  /** User that QEMU and its helpers run as; undefined for the user of this process. */
  readonly user?: HostUser | undefined
}

/** Settings of a run that do not affect the machine itself. */
export interface RunSettings {
  /** Parent folder of the run's folder. Undefined: the system's temporary folder. */
  readonly tmpdir: string | undefined
  /** Folder for the logs of a guest that fails. */
  readonly artifacts: string | false | undefined
  /** If true, a dump of the guest's RAM is saved with the logs. */
  readonly memoryDump: boolean
  /**
   * Maximum time for which a failed guest is kept, in milliseconds. Undefined: it ends with this
   * process.
   */
  readonly keepMs: number | undefined
  readonly signal: AbortSignal | undefined
  readonly log: (line: string) => void
  readonly importReport: ImportReport
  /**
   * If true, starts a standby for the next test. Undefined: only if another guest with the same
   * options is likely to be requested.
   */
  readonly standby: boolean | undefined
  /** If true, the disk of the guest becomes an image, so it cannot be forked. @default false */
  readonly buildsImage?: boolean | undefined
}

/** Everything known about a guest before it starts. */
export interface GuestPlan {
  /** Unique name on this host, such as `web-9dde26`: in messages, `withvm ps` and artifacts. */
  readonly name: string
  readonly spec: MachineSpec
  readonly host: MachineHost
  /** Preparations that run in the guest after its first boot, or that its template contains. */
  readonly steps: readonly Preparation[]
  readonly run: RunSettings
}

/** Files of a saved snapshot, from which clones are restored. */
export interface MachineSnapshot {
  /** Empty overlay on top of the snapshot's system disk. Undefined without a disk. */
  readonly overlay: string | undefined
  /** The same for each further disk. Undefined for a disk that the guest does not write to. */
  readonly furtherOverlays: ReadonlyArray<string | undefined>
  /** UEFI variables. Undefined with a BIOS. */
  readonly variables: string | undefined
  /** Folder with the state of the TPM. Undefined without a TPM. */
  readonly tpmDir: string | undefined
  /** Places of the guest's identity. Undefined if the image contains an identity agent. */
  readonly identity: string | undefined
  /** Log of the serial console up to the snapshot. */
  readonly serialLog: string
  /** Output of each guest port up to the snapshot. */
  readonly portLogs: readonly string[]
  /** Content of the RAM: one file for each NUMA node. Empty: `state` contains it. */
  readonly memory: readonly string[]
  /** State of devices and vCPUs. */
  readonly state: string
  /** If true, `state` contains the RAM, even if there is a file. @default false */
  readonly isRamInState?: boolean | undefined
  /** Further state of a fork. Undefined: a template. */
  readonly fork?: ForkedState | undefined
}

/** Kind of start of a guest: cold boot, template, standby or fork. */
export type StartedFrom =
  | {
      /** The guest was booted from power-on. */
      readonly kind: 'cold'
      /** Reason why a warm start was not possible. */
      readonly reason?: string | undefined
    }
  | {
      /**
       * The guest was restored from a template, or it was a standby, restored before and then only
       * resumed.
       */
      readonly kind: 'template' | 'standby'
      /** Name of the template as listed by `withvm templates ls`. */
      readonly template: string
      /**
       * Time to boot and save the template, in milliseconds; undefined if the template already
       * existed.
       */
      readonly buildMs?: number | undefined
    }
  | {
      /** The guest is a child of `vm.fork()` or `forkAll()`. */
      readonly kind: 'fork'
      /** Unique name of the parent: its `vm.id`. */
      readonly parent: string
      /**
       * Method by which the RAM of the parent was saved: the pages that the parent had written
       * since its template, or all pages in a migration, which takes longer.
       */
      readonly method: 'pages' | 'migration'
      /** Time for which the parent was paused, in milliseconds. */
      readonly pauseMs: number
    }

/** Origin of a guest's first power-on. */
export interface StartOrigin {
  readonly startedFrom: StartedFrom
  /** Snapshot to restore. Undefined: cold boot. */
  readonly snapshot?: MachineSnapshot | undefined
  /** Files for the guest's RAM, one for each NUMA node, so that the guest can become a template. */
  readonly memoryFiles?: readonly string[] | undefined
  /**
   * Marks the files of the snapshot as used by a guest, until the returned function is called.
   * Children of the guest use them too.
   */
  readonly noteUse?: (() => () => void) | undefined
}
