/** UEFI firmware, with variables of its own for each guest. */
export interface UefiFirmware {
  /** Which firmware this is about. */
  readonly type: 'uefi'
  /** Whether it starts only what is signed by the keys that it has: Microsoft's, which distributions' loaders are signed by. Needs a `q35` machine. @default false */
  readonly secureBoot?: boolean
  /** A file with variables to begin with, copied for each guest. @default the firmware's own, empty or with the keys for secure boot */
  readonly vars?: string
}

/** Firmware of your own, in one file: U-Boot, coreboot, a build of SeaBIOS or EDK2. */
export interface FirmwareFile {
  /** Firmware that the machine starts from its ROM. */
  readonly type: 'bios'
  /** The file; QEMU opens it read-only (QEMU: `-bios`). */
  readonly file: string
}

/** A TPM, emulated by swtpm. */
export interface TpmOptions {
  /** The version of the specification. @default '2.0' */
  readonly version?: '1.2' | '2.0'
  /** Its interface: `tis`, or `crb`, which only a TPM 2.0 has (QEMU: `-device tpm-tis` or `tpm-crb`). @default 'tis' */
  readonly model?: 'tis' | 'crb'
}

/** What runs before the guest's system, and what it starts. */
export interface BootOptionGroup {
  /**
   * The firmware: `'bios'` is QEMU's own for the machine, `'uefi'` is OVMF, as the host's packages have it (QEMU: `-drive if=pflash`), and
   * `{ type: 'bios', file }` is a file of your own (QEMU: `-bios`). @default 'bios', or 'uefi' where a board has no firmware and is given none
   */
  readonly firmware?: 'bios' | 'uefi' | UefiFirmware | FirmwareFile
  /** A TPM; `true` is a TPM 2.0 (QEMU: `-tpmdev emulator`). @default none */
  readonly tpm?: boolean | TpmOptions
  /** A Linux kernel that QEMU loads by itself (QEMU: `-kernel`). @default the image's own way of booting */
  readonly kernel?: string
  /** The initial RAM file system for `kernel` (QEMU: `-initrd`). @default none */
  readonly initrd?: string
  /** A device tree for `kernel`, on machines that have one (QEMU: `-dtb`). @default the machine's own */
  readonly dtb?: string
  /** Arguments for the kernel, added behind what the image needs (QEMU: `-append`). @default none */
  readonly append?: string | readonly string[]
  /** The firmware's boot order, in place of the image's own kernel: `c` disk, `d` CD, `n` network (QEMU: `-boot order=`). @default QEMU's */
  readonly boot?: string
  /** The boot order of the first start alone: what a guest reboots to is chosen by `boot` again (QEMU: `-boot once=`). @default as `boot` */
  readonly bootOnce?: string
  /** Whether the firmware shows a boot menu, for as long as it does (QEMU: `-boot menu=`). @default false */
  readonly bootMenu?: boolean
}
