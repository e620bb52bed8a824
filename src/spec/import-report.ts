/** Result of importing the options `commandLine` and `libvirtXML`. */
export interface ImportReport {
  /** Arguments of `commandLine` that were replaced or dropped. */
  readonly replacedArguments: readonly ReplacedArgument[]
  /** Settings of the domain of `libvirtXML` that were not imported. */
  readonly skippedSettings: readonly SkippedSetting[]
}

/**
 * Argument of a QEMU command line that was replaced, because QEMU no longer supports it or withvm
 * implements it differently.
 */
export interface ReplacedArgument {
  /** Original arguments: `-redir tcp:8080::80`. */
  readonly from: string
  /** Replacement: `hostfwd: [{ guest: 80, host: 8080 }]`. */
  readonly to: string
  /** Reason for the replacement. */
  readonly reason: string
}

/** Setting of a libvirt domain that was not imported. */
export interface SkippedSetting {
  /** The XML element, such as `<graphics type="spice">`. */
  readonly what: string
  /** Path of the element below `<domain>`: `devices/graphics`. */
  readonly path: string
  /** Reason why it was not imported. */
  readonly reason: string
}

/** Report of a guest whose options were all given as such. */
export const NOTHING_IMPORTED: ImportReport = { replacedArguments: [], skippedSettings: [] }
