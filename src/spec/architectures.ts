import type { DiskInterface } from './options/disks.js'

/** What machines of an architecture are like by default. */
export interface ArchitectureRow {
  /** The machine type. */
  readonly machine: string
  /** What is said of that machine beside its name. */
  readonly machineProperties?: Readonly<Record<string, string>>
  /** The CPU, by the accelerator; without one, the machine's own. */
  readonly cpu: { readonly kvm: string; readonly tcg: string | undefined }
  /** What virtio devices are connected to, as their names end; undefined: the machine takes none. */
  readonly virtio: 'pci' | 'ccw' | undefined
  /** The network card; one that is on the board cannot be plugged anywhere else. */
  readonly card: { readonly model: string; readonly isOnBoard?: true }
  /** What Linux calls the machine's first serial port. */
  readonly console: string
  /** Where disks can be; the first is the default. */
  readonly disks: readonly DiskInterface[]
  /** Where a CD drive is by default. */
  readonly cd: DiskInterface
  /** Whether something runs on the machine that is given neither UEFI nor a kernel. */
  readonly hasOwnFirmware: boolean
  /** Whether that, or UEFI in its place, looks at the order that is said for the whole machine (QEMU: `-boot order=`). */
  readonly readsBootOrder: boolean
  /** Whether there is UEFI firmware for it. */
  readonly hasUefi: boolean
  /** Whether a guest can be told things by SMBIOS. */
  readonly hasSmbios: boolean
  /** A guest that powers off ends QEMU with exit code 0, and no event before that tells of it. */
  readonly endsWithoutEvent?: true
}

const PC: ArchitectureRow = {
  /** QEMU's i440fx machine: it has no chipset devices to probe beyond what a guest needs, so it boots fastest. */
  machine: 'pc',
  /** All that the accelerator can do; with RDRAND, without which a guest waits for entropy before its first SSH key exchange. */
  cpu: { kvm: 'host', tcg: 'max' },
  virtio: 'pci',
  /** Paravirtual: no emulated registers, the fastest card, in every Linux kernel since 2008. */
  card: { model: 'virtio-net-pci' },
  console: 'ttyS0',
  disks: ['virtio', 'scsi', 'ide', 'sata', 'usb', 'nvme', 'sd', 'floppy', 'pflash'],
  cd: 'ide',
  hasOwnFirmware: true,
  readsBootOrder: true,
  hasUefi: true,
  hasSmbios: true,
}

/** QEMU's board without a model in hardware: what Linux and UEFI find by themselves, and nothing else. */
const VIRT: ArchitectureRow = {
  ...PC,
  machine: 'virt',
  console: 'ttyAMA0',
  disks: ['virtio', 'scsi', 'sata', 'usb', 'nvme', 'sd', 'pflash'],
  cd: 'scsi',
  hasOwnFirmware: false,
  readsBootOrder: false,
}

/** A machine for which QEMU has no virtio, or none that it could be plugged into without saying where. */
const WORKSTATION = {
  virtio: undefined,
  hasOwnFirmware: true,
  readsBootOrder: true,
  hasUefi: false,
  hasSmbios: false,
} as const

/**
 * The architectures, by the names that QEMU gives its programs. Machines and consoles were taken from QEMU's system emulator
 * guide (docs/system/targets), and tried.
 */
export const ARCHITECTURES = {
  x86_64: PC,
  /** A PC whose CPU has no long mode. */
  i386: { ...PC, cpu: { kvm: 'host,lm=off', tcg: 'max,lm=off' } },
  aarch64: {
    ...VIRT,
    // The architecture's own way to sign pointers takes an emulated processor most of its time.
    cpu: { kvm: 'host', tcg: 'max,pauth-impdef=on' },
  },
  arm: {
    ...VIRT,
    // What is above 4 GiB, a kernel without LPAE cannot reach: PCI would be there.
    machineProperties: { highmem: 'off' },
    cpu: { kvm: 'host', tcg: 'cortex-a15' },
  },
  riscv64: {
    ...VIRT,
    console: 'ttyS0',
    cpu: { kvm: 'host', tcg: undefined },
    // Its device for power calls exit() (QEMU 7.2, hw/misc/sifive_test.c).
    endsWithoutEvent: true,
    // OpenSBI, which goes on to a kernel or a boot loader where it is given one.
    hasOwnFirmware: true,
    hasSmbios: false,
  },
  /** IBM's POWER, of either byte order. */
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
    // The SPARCstation 20 takes more memory than QEMU's own default, the 5, whose most are 256 MiB.
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

/** An architecture of guests, by the name that QEMU gives its program. */
export type GuestArch = keyof typeof ARCHITECTURES

/** What other names of architectures stand for: Debian's, as far as they are not QEMU's. */
export const DEBIAN_NAMES = {
  amd64: 'x86_64',
  arm64: 'aarch64',
  armhf: 'arm',
  ppc64el: 'ppc64',
} as const satisfies Readonly<Record<string, GuestArch>>

/** All names that an architecture can be asked for by. */
export const ARCH_NAMES = [...Object.keys(ARCHITECTURES), ...Object.keys(DEBIAN_NAMES)]

/** What this host's processors run by themselves, by the names of Node's `process.arch`. */
const OF_HOSTS: Partial<Record<NodeJS.Architecture, GuestArch>> = {
  x64: 'x86_64',
  ia32: 'i386',
  arm64: 'aarch64',
  arm: 'arm',
  riscv64: 'riscv64',
  ppc64: 'ppc64',
  s390x: 's390x',
}

export function hostArch(arch: NodeJS.Architecture = process.arch): GuestArch {
  return OF_HOSTS[arch] ?? 'x86_64'
}

/** The architecture that was asked for, by whichever of its names; without one, the host's. */
export function resolveArch(name: string | undefined): GuestArch {
  if (name === undefined) return hostArch()
  return Object.hasOwn(DEBIAN_NAMES, name)
    ? DEBIAN_NAMES[name as keyof typeof DEBIAN_NAMES]
    : (name as GuestArch)
}

/** What machines of that architecture are like. */
export function describeArch(arch: GuestArch): ArchitectureRow {
  return ARCHITECTURES[arch]
}

/** Whether KVM of this host can run guests of that architecture: a PC runs older PCs. */
export function isNative(arch: GuestArch, host: GuestArch = hostArch()): boolean {
  return arch === host || (host === 'x86_64' && arch === 'i386')
}

/** Whether machines of that architecture are PCs. */
export function isPc(arch: GuestArch): boolean {
  return arch === 'x86_64' || arch === 'i386'
}

/** The name of a virtio device as such a machine takes it: `virtio-blk-pci`. */
export function virtioDevice(kind: string, arch: GuestArch): string {
  return `virtio-${kind}-${describeArch(arch).virtio ?? 'pci'}`
}
