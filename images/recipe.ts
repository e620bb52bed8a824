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
  /**
   * Plain data from which another process makes the same recipe. Undefined for a recipe that runs a
   * function of its author.
   */
  readonly plan?: RecipePlan | undefined
}

/** Built-in recipe, or a Debian system with own options. */
export interface RecipePlan {
  readonly name: string
  /** @default none, for a built-in recipe */
  readonly debian?: DebianOptions | undefined
  /** Duration of a build on a fast host with a fast mirror, in milliseconds. */
  readonly leastMs: number
}

export interface DebianOptions {
  /** Codename of the release. @default that of the host if it runs Debian, else `bookworm` */
  readonly suite?: string | undefined
  /** Packages to install in addition to those of the image. @default none */
  readonly packages?: readonly string[] | undefined
}

export interface BuildContext {
  readonly dir: string
  readonly arch: GuestArch
  readonly signal?: AbortSignal | undefined
  /**
   * Reports the current step in a few words.
   * @param amount progress of the step, for example `12 of 45 MiB`
   */
  readonly report: (step: string, amount?: string) => void
}

/** File of an image that is not from a package. */
export interface GuestFile {
  readonly content: string | Uint8Array
  readonly mode: number
}
