/** A setting of a libvirt domain that was not imported. */
export interface NotCarriedOver {
  /** The XML element, such as `<graphics type="spice">`. */
  readonly what: string
  /** Path of the element below `<domain>`: `devices/graphics`. */
  readonly path: string
  readonly reason: string
}
