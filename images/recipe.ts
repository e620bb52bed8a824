import type { HostTool } from '../src/image/run-tool.js'
import type { BaseImage } from '../src/spec/base-image.js'

/** How an image is made from what this host can download, and how the result is used. */
export interface Recipe {
  readonly name: string
  /** The programs of the host that a build runs, for the set-up step. */
  readonly tools: readonly HostTool[]
  /** Everything that the result depends on: another value makes another image. */
  readInputs(): Promise<unknown>
  /** Fills `dir` with the image's files. */
  build(context: BuildContext): Promise<void>
  /** Describes the image whose files lie in `dir`. */
  open(dir: string): Promise<BaseImage>
}

export interface BuildContext {
  readonly dir: string
  readonly signal?: AbortSignal | undefined
  /** Says in a few words what is being done now. */
  readonly report: (step: string) => void
}

/** A file that an image has beside those of its packages. */
export interface GuestFile {
  readonly content: string | Uint8Array
  readonly mode: number
}
