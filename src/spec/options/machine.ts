import type { MemorySize } from '../../common/units.js'

/** An architecture of guests: QEMU's name, or Debian's where that is another. */
export type ArchOption =
  | 'x86_64'
  | 'i386'
  | 'aarch64'
  | 'arm'
  | 'riscv64'
  | 'ppc64'
  | 's390x'
  | 'sparc'
  | 'sparc64'
  | 'ppc'
  | 'amd64'
  | 'arm64'
  | 'armhf'
  | 'ppc64el'

/** How guests are accelerated: `auto` takes KVM where it was proved to run a guest, else QEMU's own TCG. */
export type AccelOption = 'auto' | 'kvm' | 'tcg'

/** How the processors are arranged. What is left out QEMU works out from the rest. */
export interface CpuTopology {
  /** How many there are at the start (QEMU: `-smp`). @default as many as the arrangement makes, or the image's */
  readonly count?: number
  /** Sockets (QEMU: `-smp …,sockets=`). @default as many as are needed */
  readonly sockets?: number
  /** Dies in a socket (QEMU: `-smp …,dies=`). @default 1 */
  readonly dies?: number
  /** Cores in a die (QEMU: `-smp …,cores=`). @default as many as are needed */
  readonly cores?: number
  /** Threads of a core (QEMU: `-smp …,threads=`). @default 1 */
  readonly threads?: number
  /** How many there may be in all, those that are plugged in later among them (QEMU: `-smp …,maxcpus=`). @default `count` */
  readonly maxcpus?: number
}

/** How much RAM there is, and how much there may be. */
export interface MemoryOptions extends HostNodes {
  /** RAM at the start: MiB, or with a unit (QEMU: `-m`). @default the image's */
  readonly size?: MemorySize
  /** How much there may be in all, with what is plugged in later (QEMU: `-m …,maxmem=`). @default `size` */
  readonly max?: MemorySize
  /** Slots for memory that is plugged in later, 1 to 255 (QEMU: `-m …,slots=`). @default none */
  readonly slots?: number
  /** Whether RAM is on huge pages of the host, of 2 MiB, or of 1 GiB (QEMU: `-object memory-backend-memfd,hugetlb=`). @default false */
  readonly hugePages?: boolean | '2M' | '1G'
  /** Whether the host gives all RAM at the start, not page by page as it is used (QEMU: `-object memory-backend-…,prealloc=`). @default false */
  readonly preallocate?: boolean
  /** Whether the host may keep one copy of pages that are alike, where its KSM runs (QEMU: `-machine mem-merge=`). @default true */
  readonly merge?: boolean
  /** Whether RAM stays in the host's RAM, never in its swap (QEMU: `-overcommit mem-lock=`). @default false */
  readonly lock?: boolean
}

/** Where among this host's NUMA nodes memory comes from. */
export interface HostNodes {
  /** The nodes of this host, counted from 0, that it is taken from (QEMU: `-object memory-backend-…,host-nodes=`). @default any */
  readonly hostNodes?: readonly number[]
  /** How it is taken from them: from nowhere else, from there first, or in turn (QEMU: `-object memory-backend-…,policy=`). @default 'bind' with `hostNodes` */
  readonly policy?: 'bind' | 'preferred' | 'interleave'
}

/** One NUMA node of the guest. */
export interface NumaNode extends HostNodes {
  /** Its share of the RAM: MiB, or with a unit (QEMU: `-numa node,memdev=`). */
  readonly memory: MemorySize
  /** Its CPUs, counted from 0 (QEMU: `-numa node,cpus=`). @default none */
  readonly cpus?: readonly number[]
}

/** What the guest's clock says when it starts, and what drives it. */
export interface ClockOptions {
  /** `'utc'`, `'localtime'`, or a date and time of the clock, as `'2030-01-31T12:00:00'` (QEMU: `-rtc base=`). @default 'utc' */
  readonly base?: string
  /** `host` follows the host's clock, `rt` its time since boot, `vm` stops while the guest is stopped (QEMU: `-rtc clock=`). @default 'host' */
  readonly clock?: 'host' | 'rt' | 'vm'
}

/** What the machine says of itself: where Linux has it, `/sys/class/dmi/id`. */
export interface SmbiosOptions {
  /** Who made it (QEMU: `-smbios type=1,manufacturer=`). @default 'QEMU' */
  readonly manufacturer?: string
  /** What it is (QEMU: `-smbios type=1,product=`). @default 'Standard PC (i440FX + PIIX, 1996)' */
  readonly product?: string
  /** Its version (QEMU: `-smbios type=1,version=`). @default 'pc-i440fx-' and QEMU's version */
  readonly version?: string
  /** Its serial number (QEMU: `-smbios type=1,serial=`). @default none */
  readonly serial?: string
  /** What it is called in stock lists (QEMU: `-smbios type=1,sku=`). @default none */
  readonly sku?: string
  /** Of which family it is (QEMU: `-smbios type=1,family=`). @default none */
  readonly family?: string
  /** Its UUID; network boots are told it too (QEMU: `-uuid`). @default none */
  readonly uuid?: string
}

/** Machine, CPU, memory and clock. */
export interface MachineOptions {
  /** The architecture: what the guest's processor is (QEMU: `qemu-system-…`). See architectures.md. @default this host's */
  readonly arch?: ArchOption
  /** KVM or emulation (QEMU: `-machine …,accel=`). @default 'auto' */
  readonly accel?: AccelOption
  /**
   * The machine type, as `withvm list machines` has them (QEMU: `-machine`). `microvm` has PCI Express alone and no SMBIOS, so that a `login` tells the
   * guest its key; without KVM its kernel wants to be told how fast the processor counts, as `append: 'tsc_early_khz=2000000'`.
   * @default the architecture's: 'pc', or 'q35' for secure boot on a PC, 'virt' for ARM and RISC-V, …
   */
  readonly machine?: string
  /** The CPU model with feature flags, as `withvm list cpus` has them (QEMU: `-cpu`). @default 'host' with KVM; else the architecture's, 'max' for PCs */
  readonly cpu?: string
  /** How many CPUs, or how they are arranged (QEMU: `-smp`). @default the image's: 1 for `tiny` */
  readonly cpus?: number | CpuTopology
  /** RAM: MiB, or with a unit: `'512M'`; or with how much may be plugged in (QEMU: `-m`). @default the image's: 256 MiB for `tiny` */
  readonly memory?: MemorySize | MemoryOptions
  /** NUMA nodes; their memory is the guest's (QEMU: `-numa`). @default none: all memory is alike */
  readonly numa?: readonly NumaNode[]
  /** What the machine says of itself (QEMU: `-smbios type=1` and `-uuid`). @default as QEMU is */
  readonly smbios?: SmbiosOptions
  /** The guest's clock (QEMU: `-rtc`). @default as the host's, in UTC */
  readonly rtc?: ClockOptions
}
