/** Disk formats that can be the base of an overlay. */
export const DISK_FORMATS = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc', 'luks'] as const
export type DiskFormat = (typeof DISK_FORMATS)[number]

/** Passphrase of an encrypted image: its text, or a file that contains exactly the passphrase. */
export type DiskSecret = string | { readonly file: string }

/** Files of a guest that the identity agent writes in a clone. */
export interface IdentityTraits {
  readonly machineId: string
  readonly authorizedKeys: string
  /** Host key that the SSH server reads for each connection. */
  readonly hostKey: { readonly path: string; readonly format: 'openssh' | 'dropbear' }
  /** FIFO through which a script of the guest learns that the clone was restored. */
  readonly restoredFifo: string
}

/** Properties of an image's guests: logins, agents and console messages. */
export interface GuestTraits {
  readonly sshUser: string
  /**
   * Channel for SSH keys at boot: systemd credentials in SMBIOS OEM strings, files in the initial
   * RAM disk, or none.
   */
  readonly credentials: 'smbios' | 'initrd' | 'none'
  /**
   * Format in which the guest accepts the run's SSH host key. Undefined: the guest has its own host
   * key.
   */
  readonly hostKeyFormat?: 'openssh' | 'dropbear' | undefined
  /**
   * Place of a clone's own identity in the guest. Undefined: withvm's identity agent, which listens
   * on the virtio-serial port `org.withvm.identity-agent.0`, is not part of the image.
   */
  readonly identity?: IdentityTraits | undefined
  /** If true, the QEMU guest agent listens on the virtio-serial port `org.qemu.guest_agent.0`. */
  readonly hasAgent: boolean
  /** If true, the disk may contain cloud-init, so a disk with its configuration is attached. */
  readonly mayHaveCloudInit: boolean
  /** If true, the guest has no modules for its kernel, which is that of `tiny`. @default false */
  readonly lacksModules?: boolean | undefined
  /** Watchdog for which the image's kernel has a driver. @default 'i6300esb' */
  readonly watchdog?: 'i6300esb' | 'ib700' | undefined
  /** Boot time relative to a general-purpose distribution; scales the deadlines. */
  readonly bootTimeFactor: number
  /** Pattern on the serial console that shows that the SSH server listens. */
  readonly sshReadyPattern?: RegExp | undefined
}

/** A base image on the host's disk, ready for use and never written to. */
export interface BaseImage {
  /** Name in messages: `tiny`, or the path. */
  readonly name: string
  /**
   * Fingerprint of the content, part of the fingerprint of templates. Undefined if templates are
   * not supported.
   */
  readonly fingerprint?: string
  readonly disk?: {
    readonly path: string
    readonly format: DiskFormat
    /** Set for an encrypted image. */
    readonly encryption?: { readonly secret: DiskSecret; readonly virtualBytes: number } | undefined
  }
  /**
   * Root file system, if the kernel of `tiny` can mount it. Layers of files are then made without
   * booting the image.
   */
  readonly root?: {
    /** Number of its partition. Undefined: the file system fills the disk. */
    readonly partition?: number | undefined
    /** Disk with apt's package lists, for commands in the system (ext4, `lists`). @default none */
    readonly aptLists?: string | undefined
  }
  /** Kernel that QEMU loads directly, with the arguments that the image requires. */
  readonly directBoot?: {
    readonly kernel: string
    /** The same kernel as an EFI executable. */
    readonly efiKernel?: string | undefined
    readonly initrd?: string
    readonly append: readonly string[]
    /**
     * If true, the TSC frequency is passed to the kernel under TCG (`tsc_early_khz=`), because the
     * kernel's own measurement is wrong on a busy host.
     * @default false
     */
    readonly takesTscFrequency?: boolean
    /** Additional arguments that only a guest with one CPU supports. */
    readonly appendForOneCpu?: readonly string[]
  }
  readonly traits: GuestTraits
  readonly defaults: { readonly memoryBytes: number; readonly cpus: number }
}
