/** Something of a domain of libvirt that has no place in the options. */
export interface NotCarriedOver {
  /** What the XML says, as `<graphics type="spice">`. */
  readonly what: string
  /** Where, below `<domain>`: `devices/graphics`. */
  readonly path: string
  readonly reason: string
}
