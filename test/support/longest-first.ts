import { basename } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Test files that take a minute or more, longest first. If one of them started last, the run would wait for it. */
const LONG = [
  'netboot-installer.test.ts',
  'stock-images.test.ts',
  'debvm.test.ts',
  'debootstrap.test.ts',
  'debian.test.ts',
  'own-images.test.ts',
  'boot-failures.test.ts',
  'fork.test.ts',
  'damaged-template.test.ts',
  'uefi.test.ts',
  'loaders.test.ts',
  'accelerator.test.ts',
  'watchdog.test.ts',
  'wait-limits.test.ts',
  'unsaved-template.test.ts',
  'under-load.test.ts',
  'hostile-guests.test.ts',
  'chaos.test.ts',
  'warm-start.test.ts',
  'prepared-image.test.ts',
  'keep.test.ts',
  'test-evidence.test.ts',
  'runner.test.ts',
  'port-scan.test.ts',
  'wait-for.test.ts',
  'images.test.ts',
  'folder-lock.test.ts',
  'guest.test.ts',
  'firmware.test.ts',
]

/** Starts the longest files first, which keeps all workers busy until the end. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONG.indexOf(basename(moduleId))
      return index === -1 ? LONG.length : index
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}
