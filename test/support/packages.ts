import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createAptRoot, extractPackage } from '../../src/packages/apt.js'
import { readDistribution } from '../../src/packages/distribution.js'

const KEPT = resolve(import.meta.dirname, '../../node_modules/.withvm-tests')

/** Downloads and unpacks packages, unless an earlier run has done so. Returns the folder. */
export async function unpackOnce(names: readonly string[]): Promise<string> {
  const distribution = await readDistribution()
  const target = join(KEPT, [distribution.codename, ...names].join('-'))
  const isThere = await readdir(target).catch(() => undefined)
  if (isThere !== undefined) return target
  await mkdir(KEPT, { recursive: true })
  const work = await mkdtemp(join(tmpdir(), 'wt-apt-'))
  const unpacked = await mkdtemp(join(KEPT, 'new-'))
  try {
    const apt = await createAptRoot({ dir: work, distribution, arch: 'amd64' })
    for (const deb of await apt.download({ packages: names, keep: () => false })) {
      await extractPackage(deb, unpacked)
    }
    // A concurrent run may have been faster.
    await rename(unpacked, target).catch(() => rm(unpacked, { recursive: true }))
    return target
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}
