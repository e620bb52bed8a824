import { access } from 'node:fs/promises'
import { vmError } from '../../src/errors.js'
import { readDistributionSources, warnOfUncheckedSources } from '../../src/packages/apt.js'
import { type AptSource, moveSource } from '../../src/packages/apt-sources.js'
import { readDistribution } from '../../src/packages/distribution.js'

/** Release for hosts that do not run Debian: the newest one tested with this recipe. */
const DEFAULT_SUITE = 'bookworm'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const MIRROR = 'http://deb.debian.org'

/** Release of Debian with its package sources. */
export interface Suite {
  readonly codename: string
  readonly sources: readonly AptSource[]
}

/**
 * Returns the sources of a release: those of the host with the release replaced if the host runs
 * Debian, else those of Debian.
 *
 * @param wanted the codename. @default that of the host if it runs Debian
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED when the host has no keys to verify Debian's
 *   packages.
 */
export async function findSuite(wanted: string | undefined): Promise<Suite> {
  const host = await readDistribution()
  if (host.id === 'debian') {
    const codename = wanted ?? host.codename
    const own = await readDistributionSources('/etc/apt', host)
    return { codename, sources: own.map((source) => moveSource(source, host.codename, codename)) }
  }
  await checkKeyring(host.name)
  const codename = wanted ?? DEFAULT_SUITE
  const source = (uri: string, suite: string): AptSource => ({
    uri: `${MIRROR}/${uri}`,
    suite,
    components: ['main'],
    signedBy: KEYRING,
    options: {},
  })
  return {
    codename,
    sources: [
      source('debian', codename),
      source('debian', `${codename}-updates`),
      source('debian-security', `${codename}-security`),
    ],
  }
}

/** Warns if the host's sources, which are used on Debian, disable signature checks. */
export async function warnOfUnchecked(): Promise<void> {
  const host = await readDistribution()
  if (host.id === 'debian') await warnOfUncheckedSources(host)
}

async function checkKeyring(system: string): Promise<void> {
  const exists = await access(KEYRING).then(
    () => true,
    () => false,
  )
  if (exists) return
  throw vmError('IMAGE_BUILD_FAILED', {
    summary: `The image debian cannot be built: ${system} has no keys to verify Debian's packages.`,
    expected: `the file ${KEYRING}`,
    got: 'no such file',
    hint: 'Install the keys: `apt install debian-archive-keyring`.',
  })
}
