import { readFile } from 'node:fs/promises'
import { parseOsRelease } from '../common/os-release.js'
import { vmError } from '../errors.js'

/** Linux distribution of this host, whose packages images are built from. */
export interface Distribution {
  /** `debian` or `ubuntu`; for a derivative, its parent distribution. */
  readonly id: 'debian' | 'ubuntu'
  readonly codename: string
  readonly name: string
}

/** Parses the text of an `os-release` file. Returns undefined for a distribution without apt. */
export function parseDistribution(text: string): Distribution | undefined {
  const fields = parseOsRelease(text)
  const ids = [fields.get('ID') ?? '', ...(fields.get('ID_LIKE') ?? '').split(' ')]
  const id = ids.includes('ubuntu') ? 'ubuntu' : ids.includes('debian') ? 'debian' : undefined
  const codename =
    (id === 'ubuntu' ? fields.get('UBUNTU_CODENAME') : fields.get('DEBIAN_CODENAME')) ??
    fields.get('VERSION_CODENAME')
  if (id === undefined || codename === undefined) return undefined
  return { id, codename, name: fields.get('PRETTY_NAME') ?? id }
}

/**
 * Returns the distribution of this host.
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED when this host is not Debian, Ubuntu or a
 *   derivative of them.
 */
export async function readDistribution(path = '/etc/os-release'): Promise<Distribution> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const distribution = parseDistribution(text)
  if (distribution !== undefined) return distribution
  throw vmError('IMAGE_BUILD_FAILED', {
    summary: 'This image is built from packages of Debian or Ubuntu, and this host runs neither.',
    expected: `a Debian or Ubuntu system in ${path}`,
    got: /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? `no ${path}`,
    hint: 'Specify the path of a disk image (qcow2, raw, vmdk …) instead of the name of a recipe.',
  })
}
