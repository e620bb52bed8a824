import type { HostTool } from '../src/common/process/run-tool.js'
import type { GuestArch } from '../src/spec/architectures.js'
import type { BaseImage } from '../src/spec/base-image.js'

/** Builds an image from downloads and describes the result. */
export interface Recipe {
  readonly name: string
  /** Supported guest architectures. */
  readonly architectures: readonly GuestArch[]
  /** Host programs that a build runs, for `withvm setup`. */
  readonly tools: readonly HostTool[]
  /** Returns everything that the result depends on. Different inputs are different images. */
  readInputs(arch: GuestArch): Promise<unknown>
  /** Fills `dir` with the image's files. */
  build(context: BuildContext): Promise<void>
  /** Describes the image with its files in `dir`. */
  open(dir: string, arch: GuestArch): Promise<BaseImage>
}

export interface BuildContext {
  readonly dir: string
  readonly arch: GuestArch
  readonly signal?: AbortSignal | undefined
  /** Reports the current step in a few words. */
  readonly report: (step: string) => void
}

/** File of an image that is not from a package. */
export interface GuestFile {
  readonly content: string | Uint8Array
  readonly mode: number
}
