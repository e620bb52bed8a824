/** The disk formats that can be the base of an overlay. */
export const DISK_FORMATS = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'luks'] as const
export type DiskFormat = (typeof DISK_FORMATS)[number]

/** What opens an encrypted image: the bytes themselves, or a file that has them and nothing else. */
export type DiskSecret = string | { readonly file: string }

/** How an image's guest is reached, and what its serial console says on the way. */
export interface GuestTraits {
  readonly sshUser: string
  /** How keys get into the guest at boot: systemd-style credentials in SMBIOS OEM strings, files of its initial RAM disk, or not by us. */
  readonly credentials: 'smbios' | 'initrd' | 'none'
  /** The form in which the guest takes the SSH host key of this run; without one it has a host key of its own. */
  readonly hostKeyFormat?: 'openssh' | 'dropbear'
  /**
   * Whether an identity agent of ours answers on the virtio-serial port `org.withvm.identity-agent.0`: a guest that has one can be
   * frozen, and each of its clones made a machine of its own.
   */
  readonly hasIdentityAgent: boolean
  /** Whether a guest agent answers on the virtio-serial port `org.qemu.guest_agent.0`. */
  readonly hasAgent: boolean
  /** Whether there may be a cloud-init on its disk, which wants a disk with its data. */
  readonly mayHaveCloudInit: boolean
  /** The watchdog for which its kernel has a driver. @default 'i6300esb' */
  readonly watchdog?: 'i6300esb' | 'ib700'
  /** How long its start takes, as a share of what a general-purpose distribution takes: scales the deadlines. */
  readonly startEffort: number
  /** What the guest prints on its serial console once its SSH server listens. */
  readonly sshReadyPattern?: RegExp
}

/** A base image that lies ready on this host's disk and is never written to. */
export interface BaseImage {
  /** As messages name it: `tiny`, or the path. */
  readonly name: string
  /** Changes with the content: what was made of the image is kept under this. Undefined where nothing is. */
  readonly identity?: string
  readonly disk?: {
    readonly path: string
    readonly format: DiskFormat
    /** Of an encrypted image. */
    readonly encryption?: { readonly secret: DiskSecret; readonly virtualBytes: number } | undefined
  }
  /** The kernel that QEMU loads by itself, with the arguments that this image needs. */
  readonly directBoot?: {
    readonly kernel: string
    /** The same kernel in the form that UEFI firmware starts. */
    readonly efiKernel?: string | undefined
    readonly initrd?: string
    readonly append: readonly string[]
    /**
     * If true, the kernel is told the frequency of its time-stamp counter under TCG (`tsc_early_khz=`). It would measure it, and
     * on a busy host wrongly. @default false
     */
    readonly takesTscFrequency?: boolean
    /** Further arguments, which a guest with more than one CPU cannot have. */
    readonly appendForOneCpu?: readonly string[]
  }
  readonly traits: GuestTraits
  readonly defaults: { readonly memoryBytes: number; readonly cpus: number }
}
