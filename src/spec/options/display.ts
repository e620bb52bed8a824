/** A VNC server for the guest's display. */
export interface VncOptions {
  /**
   * Display number: 0 for port 5900, 1 for port 5901 and so on (QEMU: `-vnc :N`).
   * @default the first free one up to 99, reported by `vm.vnc()`
   */
  readonly display?: number | undefined
  /**
   * Path of a unix socket to listen on instead of a port. Every local user can connect to a port
   * (QEMU: `-vnc unix:`).
   * @default none
   */
  readonly socket?: string | undefined
  /** Host address to listen on (QEMU: `-vnc host:`). @default '127.0.0.1' */
  readonly bind?: string | undefined
  /**
   * Password of the viewer, at most 8 characters: VNC compares no more (QEMU: `-vnc
   * …,password-secret=`).
   * @default none
   */
  readonly password?: string | undefined
  /**
   * Enables WebSocket connections: `true` listens on port 5700 + `display`; a number listens on
   * that port (QEMU: `-vnc …,websocket=`).
   * @default false
   */
  readonly websocket?: boolean | number | undefined
}

/** A SPICE server for the guest's display. */
export interface SpiceOptions {
  /**
   * Port to listen on. Every local user can connect to it (QEMU: `-spice port=`).
   * @default none: a unix socket in the run's folder, reported by `vm.spice()`
   */
  readonly port?: number | undefined
  /** Host address to listen on (QEMU: `-spice addr=`). @default '127.0.0.1' */
  readonly bind?: string | undefined
  /**
   * Ticket that clients must present, at most 60 characters (QEMU: `-spice password-secret=`).
   * @default none
   */
  readonly password?: string | undefined
}

/** The display, its servers and input devices. */
export interface DisplayOptionGroup {
  /**
   * Interactive display: a window (`gtk`, `sdl`) or a text screen in the terminal (`curses`, not
   * with `runAs`) (QEMU: `-display`).
   * @default 'none'; `vm.screenshot()` works without a display
   */
  readonly display?: 'none' | 'gtk' | 'sdl' | 'curses' | undefined
  /**
   * Keys that release the mouse from an SDL window, formerly `-alt-grab` and `-ctrl-grab` (QEMU:
   * `-display sdl,grab-mod=`).
   * @default QEMU's: Ctrl-Alt
   */
  readonly grab?: 'ctrl-alt-shift' | 'right-ctrl' | undefined
  /**
   * Graphics card (QEMU: `-vga`).
   * @default 'none'; 'std' if `display`, `vnc`, `spice` or `tablet` is set
   */
  readonly vga?: 'none' | 'std' | 'cirrus' | 'vmware' | 'qxl' | 'virtio' | undefined
  /**
   * VNC server. If true, it listens on a free port of 127.0.0.1, where every local user can see and
   * control the display. Set `socket` or `password` to restrict access (QEMU: `-vnc`).
   * @default false
   */
  readonly vnc?: boolean | VncOptions | undefined
  /**
   * SPICE server. If true, it listens on a unix socket in the run's folder (QEMU: `-spice`).
   * @default false
   */
  readonly spice?: boolean | SpiceOptions | undefined
  /** Keyboard layout of VNC viewers, as QEMU names it: `'de'` (QEMU: `-k`). @default 'en-us' */
  readonly keyboardLayout?: string | undefined
  /**
   * Pointer with absolute coordinates, required by `vm.mouse` (QEMU: `-device virtio-tablet-pci` or
   * `usb-tablet`).
   * @default none: a PS/2 mouse
   */
  readonly tablet?: 'virtio' | 'usb' | undefined
}
