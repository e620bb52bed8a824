import { basename } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The files that take a minute and more, the longest first: one that begins last would have the others wait for it. */
const LONG = [
  'netboot-installer.test.ts',
  'stock-images.test.ts',
  'debvm.test.ts',
  'debootstrap.test.ts',
  'debian.test.ts',
  'boot-failures.test.ts',
  'damaged-template.test.ts',
  'uefi.test.ts',
  'loaders.test.ts',
  'accelerator.test.ts',
  'under-load.test.ts',
  'hostile-guests.test.ts',
  'chaos.test.ts',
  'warm-start.test.ts',
  'prepared-image.test.ts',
  'keep.test.ts',
]

/** Starts the files in the order in which they keep all workers at work to the end. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONG.indexOf(basename(moduleId))
      return index === -1 ? LONG.length : index
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}
