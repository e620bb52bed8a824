/** UEFI firmware. Each guest has its own copy of the UEFI variables. */
export interface UefiFirmware {
  /** Type of the firmware: UEFI. */
  readonly type: 'uefi'
  /**
   * Enables Secure Boot with Microsoft's keys, which also sign the boot loaders of distributions.
   * Requires a `q35` machine on a PC.
   * @default false
   */
  readonly secureBoot?: boolean | undefined
  /**
   * File with initial UEFI variables, copied for each guest.
   * @default the firmware's own: empty, or with the keys for Secure Boot
   */
  readonly vars?: string | undefined
}

/** Custom firmware in one file: U-Boot, coreboot, or a build of SeaBIOS or EDK2. */
export interface FirmwareFile {
  /** Type of the firmware: started from the machine's ROM. */
  readonly type: 'bios'
  /** Path of the firmware file, which QEMU opens read-only (QEMU: `-bios`). */
  readonly file: string
}

/** A TPM, emulated by swtpm. */
export interface TpmOptions {
  /** Version of the TPM specification. @default '2.0' */
  readonly version?: '1.2' | '2.0' | undefined
  /**
   * Interface of the TPM: `tis`, or `crb` (TPM 2.0 only) (QEMU: `-device tpm-tis` or `tpm-crb`).
   * @default 'tis'
   */
  readonly model?: 'tis' | 'crb' | undefined
}

/** Firmware, kernel and boot order. */
export interface BootOptionGroup {
  /**
   * Firmware: `'bios'` is QEMU's default for the machine, `'uefi'` is OVMF from the host's packages
   * (QEMU: `-drive if=pflash`), and `{ type: 'bios', file }` is a custom file (`-bios`).
   * @default 'bios'; 'uefi' if the board has no firmware and the options provide none
   */
  readonly firmware?: 'bios' | 'uefi' | UefiFirmware | FirmwareFile | undefined
  /** Adds an emulated TPM; `true` is a TPM 2.0 (QEMU: `-tpmdev emulator`). @default none */
  readonly tpm?: boolean | TpmOptions | undefined
  /**
   * Path of a Linux kernel that QEMU loads directly (QEMU: `-kernel`).
   * @default the image's kernel or boot loader
   */
  readonly kernel?: string | undefined
  /** Path of the initial RAM file system for `kernel` (QEMU: `-initrd`). @default none */
  readonly initrd?: string | undefined
  /**
   * Path of the device tree for `kernel`, on machines that use one (QEMU: `-dtb`).
   * @default the machine's own
   */
  readonly dtb?: string | undefined
  /** Kernel arguments, appended to those of the image (QEMU: `-append`). @default none */
  readonly append?: string | readonly string[] | undefined
  /**
   * Boot order of the firmware, which replaces direct boot of the image's kernel: `c` disk, `d` CD,
   * `n` network (QEMU: `-boot order=`).
   * @default QEMU's
   */
  readonly boot?: string | undefined
  /**
   * Boot order of the first boot only; later boots use `boot` (QEMU: `-boot once=`).
   * @default as `boot`
   */
  readonly bootOnce?: string | undefined
  /**
   * If true, the firmware shows its boot menu, with the firmware's own timeout (QEMU: `-boot
   * menu=`).
   * @default false
   */
  readonly bootMenu?: boolean | undefined
}
