/** A device as QEMU names it, with its properties: `{ driver: 'virtio-balloon-pci', 'free-page-reporting': true }`. */
export interface DeviceOptions {
  /** Its name, as `withvm list devices` has them (QEMU: `-device`). */
  readonly driver: string
  /** Its properties, as `withvm list devices NAME` has them. */
  readonly [property: string]: string | number | boolean
}

/** A character device of the guest, whose other end is `vm.port(name)`. */
export interface PortOptions {
  /** How the test calls it, and for a virtio port the guest too: `name` in a folder of `/sys/class/virtio-ports`. Letters, digits, `.`, `_`, `-`. */
  readonly name: string
  /** What it is: a port of virtio-serial, a serial port (the first is `/dev/ttyS1`), or a parallel port (QEMU: `-device virtserialport`, `isa-serial`, `isa-parallel`). @default 'virtio' */
  readonly type?: 'virtio' | 'serial' | 'parallel'
}

/** A device that acts when the guest does not reset it in time. */
export interface WatchdogOptions {
  /**
   * Its model (QEMU: `-device`). An `ib700` is also described by an ACPI table (WDAT), which the Linux driver `wdat_wdt` reads: its
   * countdown is then 30 s, whatever the guest asks for. @default 'ib700' for `tiny` and `debian`, else 'i6300esb'
   */
  readonly model?: 'i6300esb' | 'ib700'
  /** What it does then (QEMU: `-action watchdog=`). @default 'reset' */
  readonly action?: 'reset' | 'shutdown' | 'poweroff' | 'pause' | 'inject-nmi' | 'none' | 'debug'
}

/** Further devices. */
export interface DeviceOptionGroup {
  /**
   * Whether devices are to be plugged in while the guest runs, by `vm.plug`: a Linux guest of one CPU then looks for what can be
   * plugged, and a `q35` machine has free places (QEMU: `-device pcie-root-port`). @default true where `cpus.maxcpus` or `memory.max` is given, else false
   */
  readonly hotplug?: boolean
  /** A sound card that nobody hears (QEMU: `-audiodev none` and `-device`). @default none */
  readonly sound?: 'ac97' | 'es1370' | 'ich6' | 'ich9' | 'usb'
  /** A USB 3 controller, for USB devices among `devices` (QEMU: `-device qemu-xhci`). @default false, but for a disk with the interface 'usb' */
  readonly usb?: boolean
  /** A source of random numbers (QEMU: `-device virtio-rng-pci`). @default false */
  readonly rng?: boolean
  /** A balloon, by which RAM is taken from the guest and given back (QEMU: `-device virtio-balloon-pci`). @default false */
  readonly balloon?: boolean
  /** A watchdog; `true` is one that resets the guest (QEMU: `-device` and `-action`). @default false */
  readonly watchdog?: boolean | WatchdogOptions
  /** Character devices beside the console (QEMU: `-chardev` and `-device`). @default none */
  readonly ports?: readonly PortOptions[]
  /** Any other device of this host's QEMU (QEMU: `-device`). @default none */
  readonly devices?: readonly DeviceOptions[]
}
