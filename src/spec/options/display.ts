/** A VNC server that shows the guest's display. */
export interface VncOptions {
  /** The display, 0 for port 5900 and so on (QEMU: `-vnc :N`). @default the first that is free, up to 99: `vm.vnc()` tells which */
  readonly display?: number
  /** Path of a unix socket in place of a port, which is open to every local user of this host (QEMU: `-vnc unix:`). @default none */
  readonly socket?: string
  /** The address of this host to listen on (QEMU: `-vnc host:`). @default '127.0.0.1' */
  readonly bind?: string
  /** What a viewer has to know: VNC compares 8 characters, so there may be no more (QEMU: `-vnc …,password-secret=`). @default none */
  readonly password?: string
  /** Whether it listens for websockets too, on 5700 and up, or at this port (QEMU: `-vnc …,websocket=`). @default false */
  readonly websocket?: boolean | number
}

/** A SPICE server that shows the guest's display. */
export interface SpiceOptions {
  /** Port to listen on, which is open to every local user of this host (QEMU: `-spice port=`). @default none: a unix socket in the run's folder, as `vm.spice()` tells */
  readonly port?: number
  /** The address of this host to listen on (QEMU: `-spice addr=`). @default '127.0.0.1' */
  readonly bind?: string
  /** The ticket that a client has to show, up to 60 characters (QEMU: `-spice password-secret=`). @default none */
  readonly password?: string
}

/** The display, and what a person sees of it. */
export interface DisplayOptionGroup {
  /**
   * A window, or in a terminal a text screen, for a person who looks into a guest (QEMU: `-display`).
   * @default 'none': `vm.screenshot()` shows the display all the same
   */
  readonly display?: 'none' | 'gtk' | 'sdl' | 'curses'
  /** The keys by which a window of SDL lets the mouse go: `-alt-grab` and `-ctrl-grab` of old (QEMU: `-display sdl,grab-mod=`). @default QEMU's: Ctrl-Alt */
  readonly grab?: 'ctrl-alt-shift' | 'right-ctrl'
  /** The display card (QEMU: `-vga`). @default 'none'; 'std' where `display`, `vnc`, `spice` or `tablet` is given */
  readonly vga?: 'none' | 'std' | 'cirrus' | 'vmware' | 'qxl' | 'virtio'
  /**
   * A VNC server. If true, it listens on a free port of 127.0.0.1, where every local user of this host can see and control the display; `socket`
   * and `password` keep others out (QEMU: `-vnc`). @default false
   */
  readonly vnc?: boolean | VncOptions
  /** A SPICE server; `true`: on a unix socket in the run's folder (QEMU: `-spice`). @default false */
  readonly spice?: boolean | SpiceOptions
  /** How the keyboard of who looks by VNC is labelled, as QEMU names it: `'de'` (QEMU: `-k`). @default 'en-us' */
  readonly keyboardLayout?: string
  /** A pointer that has a place on the display, for `vm.mouse` (QEMU: `-device virtio-tablet-pci` or `usb-tablet`). @default none: a PS/2 mouse */
  readonly tablet?: 'virtio' | 'usb'
}
