import { access } from 'node:fs/promises'
import { vmError } from '../../src/errors.js'
import { readDistributionSources, warnOfUncheckedSources } from '../../src/packages/apt.js'
import { type AptSource, moveSource } from '../../src/packages/apt-sources.js'
import { readDistribution } from '../../src/packages/distribution.js'

/** What a host that is no Debian itself gets: the newest that this recipe was tried with. */
const DEFAULT_SUITE = 'bookworm'
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const MIRROR = 'http://deb.debian.org'

/** A release of Debian, and where its packages come from. */
export interface Suite {
  readonly codename: string
  readonly sources: readonly AptSource[]
}

/**
 * Finds the sources of a release: the host's own where it is of the same distribution, with the release exchanged; else those of
 * Debian itself.
 *
 * @param wanted the codename. @default the host's, where that is a Debian
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED where there is nothing by which Debian's packages could be verified.
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

/** Warns where the host's own sources, which are used on a Debian, have packages taken without a check. */
export async function warnOfUnchecked(): Promise<void> {
  const host = await readDistribution()
  if (host.id === 'debian') await warnOfUncheckedSources(host)
}

async function checkKeyring(system: string): Promise<void> {
  const isThere = await access(KEYRING).then(
    () => true,
    () => false,
  )
  if (isThere) return
  throw vmError('IMAGE_BUILD_FAILED', {
    summary: `The image debian is made from Debian's packages, and ${system} has no keys to verify them by.`,
    expected: `the file ${KEYRING}`,
    got: 'no such file',
    hint: 'Install them with: apt install debian-archive-keyring',
  })
}
