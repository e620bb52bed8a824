import type { MemorySize } from '../../common/units.js'

/** Architecture of a guest: QEMU's name, or Debian's name where it differs. */
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

/** Accelerator: `auto` uses KVM if a probe guest runs under it, else TCG, QEMU's emulation. */
export type AccelOption = 'auto' | 'kvm' | 'tcg'

/** CPU topology. QEMU derives omitted values from the others. */
export interface CpuTopology {
  /**
   * Number of CPUs at power-on (QEMU: `-smp`).
   * @default `maxcpus`, else the product of the given sockets, dies, cores and threads, else the
   *   image's
   */
  readonly count?: number | undefined
  /** Number of sockets (QEMU: `-smp …,sockets=`). @default derived from the other values */
  readonly sockets?: number | undefined
  /** Dies per socket (QEMU: `-smp …,dies=`). @default 1 */
  readonly dies?: number | undefined
  /** Cores per die (QEMU: `-smp …,cores=`). @default derived from the other values */
  readonly cores?: number | undefined
  /** Threads per core (QEMU: `-smp …,threads=`). @default 1 */
  readonly threads?: number | undefined
  /**
   * Maximum number of CPUs, including hot-plugged ones (QEMU: `-smp …,maxcpus=`). @default `count`
   */
  readonly maxcpus?: number | undefined
}

/** Size of the guest's RAM, room for hot-plug, and its backing on the host. */
export interface MemoryOptions extends HostNodes {
  /**
   * RAM at power-on: MiB, or with a unit: `'512M'`; at least 16 MiB (QEMU: `-m`).
   * @default the image's
   */
  readonly size?: MemorySize | undefined
  /**
   * Maximum RAM, including hot-plugged memory: MiB, or with a unit (QEMU: `-m …,maxmem=`).
   * @default `size`
   */
  readonly max?: MemorySize | undefined
  /**
   * Number of slots for hot-plugged memory, 1 to 255. Requires `max` (QEMU: `-m …,slots=`).
   * @default 8 with `max`, else none
   */
  readonly slots?: number | undefined
  /**
   * If true, RAM is allocated from huge pages of the host: 2 MiB, or 1 GiB with `'1G'` (QEMU:
   * `-object memory-backend-memfd,hugetlb=`).
   * @default false
   */
  readonly hugePages?: boolean | '2M' | '1G' | undefined
  /**
   * If true, the host allocates all RAM at power-on instead of page by page on first use (QEMU:
   * `-object memory-backend-…,prealloc=`).
   * @default false
   */
  readonly preallocate?: boolean | undefined
  /**
   * If true, the host may merge identical pages if KSM is enabled there (QEMU: `-machine
   * mem-merge=`).
   * @default true
   */
  readonly merge?: boolean | undefined
  /**
   * If true, guest RAM is locked in host RAM and never swapped out (QEMU: `-overcommit mem-lock=`).
   * @default false
   */
  readonly lock?: boolean | undefined
}

/** NUMA nodes of the host from which memory is allocated. */
export interface HostNodes {
  /**
   * Host nodes to allocate from, counted from 0 (QEMU: `-object memory-backend-…,host-nodes=`).
   * @default any
   */
  readonly hostNodes?: readonly number[] | undefined
  /**
   * Allocation policy for `hostNodes`: from these nodes only, preferably from them, or interleaved.
   * Requires `hostNodes` (QEMU: `-object memory-backend-…,policy=`).
   * @default 'bind' with `hostNodes`
   */
  readonly policy?: 'bind' | 'preferred' | 'interleave' | undefined
}

/** One NUMA node of the guest. */
export interface NumaNode extends HostNodes {
  /** RAM of the node: MiB, or with a unit: `'512M'` (QEMU: `-numa node,memdev=`). */
  readonly memory: MemorySize
  /** CPUs of the node, counted from 0 (QEMU: `-numa node,cpus=`). @default none */
  readonly cpus?: readonly number[] | undefined
}

/** Start time and time source of the guest's clock. */
export interface ClockOptions {
  /**
   * Start time: `'utc'`, `'localtime'`, or a date with or without a time, such as
   * `'2030-01-31T12:00:00'` (QEMU: `-rtc base=`).
   * @default 'utc'
   */
  readonly base?: string | undefined
  /**
   * Time source: `host` follows the host's clock, `rt` the host's monotonic clock, `vm` stops while
   * the guest is paused (QEMU: `-rtc clock=`).
   * @default 'host'; 'rt' if `base` is a date
   */
  readonly clock?: 'host' | 'rt' | 'vm' | undefined
}

/**
 * System information reported through SMBIOS, each value at most 64 characters. Linux shows it in
 * `/sys/class/dmi/id`.
 */
export interface SmbiosOptions {
  /**
   * Manufacturer reported through SMBIOS (QEMU: `-smbios type=1,manufacturer=`). @default 'QEMU'
   */
  readonly manufacturer?: string | undefined
  /**
   * Product name reported through SMBIOS (QEMU: `-smbios type=1,product=`).
   * @default 'Standard PC (i440FX + PIIX, 1996)'
   */
  readonly product?: string | undefined
  /**
   * Product version reported through SMBIOS (QEMU: `-smbios type=1,version=`).
   * @default 'pc-i440fx-' and QEMU's version
   */
  readonly version?: string | undefined
  /** Serial number reported through SMBIOS (QEMU: `-smbios type=1,serial=`). @default none */
  readonly serial?: string | undefined
  /**
   * Stock keeping unit (SKU) reported through SMBIOS (QEMU: `-smbios type=1,sku=`). @default none
   */
  readonly sku?: string | undefined
  /** Product family reported through SMBIOS (QEMU: `-smbios type=1,family=`). @default none */
  readonly family?: string | undefined
  /** UUID of the machine, also sent in network boot requests (QEMU: `-uuid`). @default none */
  readonly uuid?: string | undefined
}

/** Machine, CPU, memory and clock. */
export interface MachineOptions {
  /**
   * Architecture of the guest's CPU (QEMU: `qemu-system-…`). See docs/architectures.md.
   * @default the host's
   */
  readonly arch?: ArchOption | undefined
  /**
   * Accelerator: KVM or emulation (TCG) (QEMU: `-machine …,accel=`).
   * @default WITHVM_ACCEL, else 'auto'
   */
  readonly accel?: AccelOption | undefined
  /**
   * Machine type, as listed by `withvm list machines` (QEMU: `-machine`). `microvm` supports only
   * PCI Express devices and has no SMBIOS, so the SSH key is installed through `login`. Without
   * KVM, its kernel requires the TSC frequency, for example `append: 'tsc_early_khz=2000000'`.
   * @default the architecture's: 'pc', or 'q35' for Secure Boot on a PC, 'virt' for ARM and RISC-V,
   *   …
   */
  readonly machine?: string | undefined
  /**
   * CPU model with feature flags, as listed by `withvm list cpus` (QEMU: `-cpu`).
   * @default 'host' with KVM; else the architecture's, 'max' for PCs
   */
  readonly cpu?: string | undefined
  /**
   * Number of CPUs, 1 to 255, or their topology (QEMU: `-smp`). @default the image's: 1 for `tiny`
   */
  readonly cpus?: number | CpuTopology | undefined
  /**
   * RAM: MiB, or with a unit: `'512M'`; at least 16 MiB. An object adds hot-plug and host backing
   * (QEMU: `-m`).
   * @default the image's: 256 MiB for `tiny`
   */
  readonly memory?: MemorySize | MemoryOptions | undefined
  /**
   * NUMA nodes of the guest. Their memory adds up to the guest's RAM (QEMU: `-numa`). @default none
   */
  readonly numa?: readonly NumaNode[] | undefined
  /**
   * System information reported through SMBIOS (QEMU: `-smbios type=1` and `-uuid`).
   * @default QEMU's
   */
  readonly smbios?: SmbiosOptions | undefined
  /** Guest clock (QEMU: `-rtc`). @default the host's time, in UTC */
  readonly rtc?: ClockOptions | undefined
}
