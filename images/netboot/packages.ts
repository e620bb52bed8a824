import { cp, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createAptRoot, extractPackage } from '../../src/packages/apt.js'
import { readDistribution } from '../../src/packages/distribution.js'
import type { BuildContext } from '../recipe.js'

export interface UnpackOptions extends BuildContext {
  readonly packages: readonly string[]
  /** Selects dependencies to unpack as well. @default none */
  readonly keep?: (packageName: string) => boolean
}

/**
 * Unpacks packages of this host's distribution into a folder, passes it to `use`, and removes it.
 */
export async function withPackages(
  { dir, packages, keep = () => false, signal, report }: UnpackOptions,
  use: (root: string) => Promise<void>,
): Promise<void> {
  const work = join(dir, 'work')
  const root = join(work, 'root')
  await mkdir(root, { recursive: true })
  const distribution = await readDistribution()
  report(`reading the package lists of ${distribution.name}`)
  const apt = await createAptRoot({ dir: join(work, 'apt'), distribution, arch: 'amd64', report, signal })
  const debs = await apt.download({ packages, keep })
  report(`unpacking ${debs.length} packages`)
  for (const deb of debs) await extractPackage(deb, root, signal)
  await use(root)
  await rm(work, { recursive: true, force: true })
}

/** Copies the files of a folder whose names match. */
export async function copyFiles(from: string, to: string, wanted: RegExp): Promise<void> {
  await mkdir(to, { recursive: true })
  const names = (await readdir(from)).filter((name) => wanted.test(name))
  await Promise.all(names.map((name) => cp(join(from, name), join(to, name), { dereference: true })))
}
