import type { DiskInterface } from './options/disks.js'

/** Default machine of an architecture. */
export interface ArchitectureRow {
  /** Machine type. */
  readonly machine: string
  /** Properties of the machine type. */
  readonly machineProperties?: Readonly<Record<string, string>>
  /** CPU model for each accelerator. Undefined: the machine's default. */
  readonly cpu: { readonly kvm: string; readonly tcg: string | undefined }
  /** Bus of virtio devices, the suffix of their names. Undefined: virtio is not supported. */
  readonly virtio: 'pci' | 'ccw' | undefined
  /** Network card. An onboard card cannot be replaced or added. */
  readonly card: { readonly model: string; readonly isOnBoard?: true }
  /** Linux device name of the first serial port. */
  readonly console: string
  /** Supported disk interfaces; the first is the default. */
  readonly disks: readonly DiskInterface[]
  /** Default interface of a CD drive. */
  readonly cd: DiskInterface
  /** If true, the machine has built-in firmware, so it boots without UEFI or a kernel. */
  readonly hasOwnFirmware: boolean
  /** If true, the firmware honors the boot order of the machine (QEMU: `-boot order=`). */
  readonly readsBootOrder: boolean
  /** If true, UEFI firmware is available. */
  readonly hasUefi: boolean
  /** If true, SMBIOS is supported. */
  readonly hasSmbios: boolean
  /** If true, QEMU exits with code 0 when the guest powers off, without a QMP event before. */
  readonly endsWithoutEvent?: true
}

const PC: ArchitectureRow = {
  /** i440FX boots fastest, because it has the fewest chipset devices to probe. */
  machine: 'pc',
  /**
   * All features of the accelerator. Without RDRAND, a guest waits for entropy before its first SSH
   * key exchange.
   */
  cpu: { kvm: 'host', tcg: 'max' },
  virtio: 'pci',
  /** Paravirtual, so the fastest card; supported by every Linux kernel since 2008. */
  card: { model: 'virtio-net-pci' },
  console: 'ttyS0',
  disks: ['virtio', 'scsi', 'ide', 'sata', 'usb', 'nvme', 'sd', 'floppy', 'pflash'],
  cd: 'ide',
  hasOwnFirmware: true,
  readsBootOrder: true,
  hasUefi: true,
  hasSmbios: true,
}

/** QEMU's `virt` board: no hardware model, only devices that Linux and UEFI discover. */
const VIRT: ArchitectureRow = {
  ...PC,
  machine: 'virt',
  console: 'ttyAMA0',
  disks: ['virtio', 'scsi', 'sata', 'usb', 'nvme', 'sd', 'pflash'],
  cd: 'scsi',
  hasOwnFirmware: false,
  readsBootOrder: false,
}

/** A machine without virtio, or without a default bus for it. */
const WORKSTATION = {
  virtio: undefined,
  hasOwnFirmware: true,
  readsBootOrder: true,
  hasUefi: false,
  hasSmbios: false,
} as const

/**
 * Architectures, by the suffix of QEMU's program names. Machines and consoles are from QEMU's
 * system emulator guide (docs/system/targets) and tested.
 */
export const ARCHITECTURES = {
  x86_64: PC,
  /** A PC whose CPU has no long mode. */
  i386: { ...PC, cpu: { kvm: 'host,lm=off', tcg: 'max,lm=off' } },
  aarch64: {
    ...VIRT,
    // The architected pointer authentication algorithm takes most of the time of an emulated CPU.
    cpu: { kvm: 'host', tcg: 'max,pauth-impdef=on' },
  },
  arm: {
    ...VIRT,
    // By default, PCI is above 4 GiB, where a kernel without LPAE cannot access it.
    machineProperties: { highmem: 'off' },
    cpu: { kvm: 'host', tcg: 'cortex-a15' },
  },
  riscv64: {
    ...VIRT,
    console: 'ttyS0',
    cpu: { kvm: 'host', tcg: undefined },
    // The power-off device calls exit() (QEMU 7.2, hw/misc/sifive_test.c).
    endsWithoutEvent: true,
    // OpenSBI, which starts a kernel or boot loader if one is given.
    hasOwnFirmware: true,
    hasSmbios: false,
  },
  /** IBM POWER, either byte order. */
  ppc64: {
    ...PC,
    machine: 'pseries',
    cpu: { kvm: 'host', tcg: undefined },
    console: 'hvc0',
    disks: ['virtio', 'scsi', 'sata', 'usb', 'nvme'],
    cd: 'scsi',
    hasUefi: false,
    hasSmbios: false,
  },
  s390x: {
    ...PC,
    machine: 's390-ccw-virtio',
    virtio: 'ccw',
    card: { model: 'virtio-net-ccw' },
    console: 'ttysclp0',
    disks: ['virtio', 'scsi'],
    cd: 'scsi',
    readsBootOrder: false,
    hasUefi: false,
    hasSmbios: false,
  },
  sparc: {
    ...WORKSTATION,
    // The SPARCstation 20 supports more than the 256 MiB of QEMU's default, the SPARCstation 5.
    machine: 'SS-20',
    cpu: { kvm: 'host', tcg: undefined },
    card: { model: 'lance', isOnBoard: true },
    console: 'ttyS0',
    disks: ['scsi'],
    cd: 'scsi',
  },
  sparc64: {
    ...WORKSTATION,
    machine: 'sun4u',
    cpu: { kvm: 'host', tcg: undefined },
    card: { model: 'sunhme', isOnBoard: true },
    console: 'ttyS0',
    disks: ['ide'],
    cd: 'ide',
  },
  /** A PowerMac G4. */
  ppc: {
    ...PC,
    machine: 'mac99',
    cpu: { kvm: 'host', tcg: undefined },
    card: { model: 'sungem' },
    console: 'ttyPZ0',
    disks: ['ide', 'virtio', 'scsi', 'usb'],
    hasUefi: false,
    hasSmbios: false,
  },
} as const satisfies Readonly<Record<string, ArchitectureRow>>

/** Architecture of a guest, by the suffix of QEMU's program name. */
export type GuestArch = keyof typeof ARCHITECTURES

/** Debian's architecture names that differ from QEMU's. */
export const DEBIAN_NAMES = {
  amd64: 'x86_64',
  arm64: 'aarch64',
  armhf: 'arm',
  ppc64el: 'ppc64',
} as const satisfies Readonly<Record<string, GuestArch>>

/** All accepted names of architectures. */
export const ARCH_NAMES = [...Object.keys(ARCHITECTURES), ...Object.keys(DEBIAN_NAMES)]

/** Native architecture of the host, by Node.js's `process.arch`. */
const NATIVE_ARCHS: Partial<Record<NodeJS.Architecture, GuestArch>> = {
  x64: 'x86_64',
  ia32: 'i386',
  arm64: 'aarch64',
  arm: 'arm',
  riscv64: 'riscv64',
  ppc64: 'ppc64',
  s390x: 's390x',
}

export function hostArch(arch: NodeJS.Architecture = process.arch): GuestArch {
  return NATIVE_ARCHS[arch] ?? 'x86_64'
}

/** Resolves QEMU's or Debian's name of an architecture; undefined is the host's. */
export function resolveArch(name: string | undefined): GuestArch {
  if (name === undefined) return hostArch()
  return Object.hasOwn(DEBIAN_NAMES, name)
    ? DEBIAN_NAMES[name as keyof typeof DEBIAN_NAMES]
    : (name as GuestArch)
}

/** Returns the defaults of the architecture. */
export function describeArch(arch: GuestArch): ArchitectureRow {
  return ARCHITECTURES[arch]
}

/**
 * Returns true if KVM on the host can run guests of the architecture: x86_64 hosts also run i386.
 */
export function isNative(arch: GuestArch, host: GuestArch = hostArch()): boolean {
  return arch === host || (host === 'x86_64' && arch === 'i386')
}

/** Returns true for the PC architectures x86_64 and i386. */
export function isPc(arch: GuestArch): boolean {
  return arch === 'x86_64' || arch === 'i386'
}

/**
 * Returns true if a guest that QEMU restores continues to count time. Without KVM, QEMU sets the
 * time base of a POWER processor back (hw/ppc/ppc.c, `timebase_load`), and its timers stop.
 */
export function restoresTime(arch: GuestArch): boolean {
  return arch !== 'ppc64'
}

/** Returns the name of a virtio device for the architecture's bus, such as `virtio-blk-pci`. */
export function virtioDevice(kind: string, arch: GuestArch): string {
  return `virtio-${kind}-${describeArch(arch).virtio ?? 'pci'}`
}
