import type { HostTool } from '../src/common/process/run-tool.js'
import type { GuestArch } from '../src/spec/architectures.js'
import type { BaseImage } from '../src/spec/base-image.js'

/** How an image is made from what this host can download, and how the result is used. */
export interface Recipe {
  readonly name: string
  /** What guests it can be made for. */
  readonly architectures: readonly GuestArch[]
  /** The programs of the host that a build runs, for the set-up step. */
  readonly tools: readonly HostTool[]
  /** Everything that the result depends on: another value makes another image. */
  readInputs(arch: GuestArch): Promise<unknown>
  /** Fills `dir` with the image's files. */
  build(context: BuildContext): Promise<void>
  /** Describes the image whose files lie in `dir`. */
  open(dir: string, arch: GuestArch): Promise<BaseImage>
}

export interface BuildContext {
  readonly dir: string
  readonly arch: GuestArch
  readonly signal?: AbortSignal | undefined
  /** Says in a few words what is being done now. */
  readonly report: (step: string) => void
}

/** A file that an image has beside those of its packages. */
export interface GuestFile {
  readonly content: string | Uint8Array
  readonly mode: number
}
