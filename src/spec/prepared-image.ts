import type { ImageDefinition } from './image-definition.js'
import type { ImageSource } from './image-source.js'

/** What a preparation depends on beside its own source. */
export interface PreparationInputs {
  /** Values that the function uses from outside of itself, as JSON can write them. @default none */
  readonly inputs?: unknown
  /** Files of this host that it reads: by their content. @default none */
  readonly files?: readonly string[]
}

/** One step that is run in a guest, once, for all guests to go on from. */
export interface Preparation<VM> extends PreparationInputs {
  readonly run: (vm: VM) => unknown
}

/**
 * An image with what was done in a guest of it: guests of it begin where that had ended. It is done once, and kept under the
 * source of the functions and what they say that they depend on.
 */
export class PreparedImage<VM> {
  readonly source: ImageSource | ImageDefinition<VM>
  readonly steps: readonly Preparation<VM>[]

  constructor(source: ImageSource | ImageDefinition<VM>, steps: readonly Preparation<VM>[] = []) {
    this.source = source
    this.steps = steps
  }

  /**
   * The same image with one more step.
   *
   * @param run is given a guest that is ready. It must not depend on anything but its own source and `dependsOn`: where
   *   those stay the same, it is not run again.
   * @example const web = image('tiny').prepare(async (vm) => { await vm.upload('./site', '/srv') }, { files: ['./site/index.html'] })
   */
  prepare(run: (vm: VM) => unknown, dependsOn: PreparationInputs = {}): PreparedImage<VM> {
    return new PreparedImage(this.source, [...this.steps, { ...dependsOn, run }])
  }
}
