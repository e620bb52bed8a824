/**
 * A QEMU device with its properties: `{ driver: 'virtio-balloon-pci', 'free-page-reporting': true
 * }`.
 */
export interface DeviceOptions {
  /** Name of the device, as listed by `withvm list devices` (QEMU: `-device`). */
  readonly driver: string
  /** Properties of the device, as listed by `withvm list devices NAME`. */
  readonly [property: string]: string | number | boolean
}

/** A character device of the guest. `vm.port(name)` is its host end. */
export interface PortOptions {
  /**
   * Name of the port: letters, digits, `.`, `_`, `-`. A virtio port has the same name in the guest:
   * `name` in a folder of `/sys/class/virtio-ports`.
   */
  readonly name: string
  /**
   * Type of the port: virtio-serial, a serial port (the first is `/dev/ttyS1`), or a parallel port
   * (QEMU: `-device virtserialport`, `isa-serial`, `isa-parallel`).
   * @default 'virtio'
   */
  readonly type?: 'virtio' | 'serial' | 'parallel' | undefined
}

/** A watchdog: a device that acts if the guest does not reset its timer in time. */
export interface WatchdogOptions {
  /**
   * Model of the watchdog (QEMU: `-device`). An `ib700` is also described by an ACPI table (WDAT).
   * If the Linux driver `wdat_wdt` drives it, the timeout is 30 s, whatever the guest sets.
   * @default 'ib700' for `tiny` and `debian`, else 'i6300esb'
   */
  readonly model?: 'i6300esb' | 'ib700' | undefined
  /** Action when the timer expires (QEMU: `-action watchdog=`). @default 'reset' */
  readonly action?: 'reset' | 'shutdown' | 'poweroff' | 'pause' | 'inject-nmi' | 'none' | 'debug' | undefined
}

/** Sound, USB and other devices. */
export interface DeviceOptionGroup {
  /**
   * If true, prepares the guest for hot-plug by `vm.plug`: a `q35` machine gets free PCI Express
   * slots, and a Linux guest with one CPU scans for plugged devices (QEMU: `-device
   * pcie-root-port`).
   * @default true if `cpus.maxcpus` or `memory.max` is set, else false
   */
  readonly hotplug?: boolean | undefined
  /** Sound card without audible output (QEMU: `-audiodev none` and `-device`). @default none */
  readonly sound?: 'ac97' | 'es1370' | 'ich6' | 'ich9' | 'usb' | undefined
  /**
   * Adds a USB 3 controller, which USB devices in `devices` require (QEMU: `-device qemu-xhci`).
   * @default false; true if a disk or the tablet is a USB device
   */
  readonly usb?: boolean | undefined
  /** Adds a hardware random number generator (QEMU: `-device virtio-rng-pci`). @default false */
  readonly rng?: boolean | undefined
  /**
   * Adds a memory balloon, which reclaims RAM from the guest and returns it (QEMU: `-device
   * virtio-balloon-pci`).
   * @default false
   */
  readonly balloon?: boolean | undefined
  /**
   * Adds a watchdog; `true` selects one that resets the guest (QEMU: `-device` and `-action`).
   * @default false
   */
  readonly watchdog?: boolean | WatchdogOptions | undefined
  /**
   * Character devices in addition to the console (QEMU: `-chardev` and `-device`). @default none
   */
  readonly ports?: readonly PortOptions[] | undefined
  /** Any other devices that the host's QEMU supports (QEMU: `-device`). @default none */
  readonly devices?: readonly DeviceOptions[] | undefined
}
