import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findProgram } from '../../../src/common/process/find-program.js'
import { createAptRoot, parsePrintedUris } from '../../../src/packages/apt.js'
import {
  formatDeb822Sources,
  parseDeb822Sources,
  parseOneLineSources,
  selectDistributionSources,
} from '../../../src/packages/apt-sources.js'
import { parseDistribution } from '../../../src/packages/distribution.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const hasApt = (await findProgram('apt-get')) !== undefined
if (!hasApt) process.stderr.write('skipped: roots of other architectures are made by apt\n')

describe('apt sources', () => {
  test('apt sources in the one-line format keep their keyring and drop host-only options', () => {
    const text = `
      # deb http://old/ bookworm main
      deb [arch=amd64 signed-by=/k.gpg trusted=yes] http://d/debian bookworm main contrib # comment
      deb-src http://d/debian bookworm main`
    expect(parseOneLineSources(text)).toEqual([
      {
        uri: 'http://d/debian',
        suite: 'bookworm',
        components: ['main', 'contrib'],
        signedBy: '/k.gpg',
        options: { Trusted: 'yes' },
      },
    ])
  })

  test('apt sources in the deb822 format yield one source for each URI and suite', () => {
    const text = `Types: deb deb-src\nURIs: http://a/ http://b/\n# comment\nSuites: noble noble-updates\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n\nTypes: deb\nEnabled: no\nURIs: http://c/\nSuites: noble\n`
    const sources = parseDeb822Sources(text)
    expect(sources.map(({ uri, suite }) => `${uri} ${suite}`)).toEqual([
      'http://a/ noble',
      'http://a/ noble-updates',
      'http://b/ noble',
      'http://b/ noble-updates',
    ])
    expect(sources[0]?.signedBy).toBe('\n -----BEGIN\n .\n abc')
    expect(parseDeb822Sources(formatDeb822Sources(sources))).toEqual(sources)
  })

  test('apt sources of third parties are excluded', () => {
    const suites = [
      'bookworm',
      'bookworm-updates',
      'bookworm-security',
      'bookworm-backports',
      'nodistro',
      'cloud-sdk-bookworm',
    ]
    const sources = suites.map((suite) => ({ uri: 'http://x', suite, components: ['main'], options: {} }))
    expect(selectDistributionSources(sources, 'bookworm').map(({ suite }) => suite)).toEqual(
      suites.slice(0, 3),
    )
  })
})

test('the output of `apt-get --print-uris` yields names, versions with epochs and sizes', () => {
  const text = `'http://d/pool/q/x.deb' qemu-guest-agent_1%3a7.2+dfsg-7_amd64.deb 346 SHA256:ab\nnoise\n`
  expect(parsePrintedUris(text)).toEqual([{ name: 'qemu-guest-agent', version: '1:7.2+dfsg-7', bytes: 346 }])
})

test('a derivative of Ubuntu counts as the Ubuntu release it is based on', () => {
  const mint =
    'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\nPRETTY_NAME="Linux Mint 22"\n'
  expect(parseDistribution(mint)).toEqual({ id: 'ubuntu', codename: 'noble', name: 'Linux Mint 22' })
  expect(parseDistribution('ID=fedora\nVERSION_CODENAME=x\n')).toBeUndefined()
})

describe.runIf(hasApt)('a root for another architecture', () => {
  const distribution = { id: 'debian', codename: 'bookworm', name: 'Debian GNU/Linux 12 (bookworm)' } as const

  /** Makes a local repository in which one release has a package list for armhf. */
  function makeRepository(): { readonly dir: string; readonly hostAptDir: string } {
    const dir = ownTmpdir()
    const lists = 'main/binary-armhf'
    const release = join(dir, 'dists/bookworm')
    mkdirSync(join(release, lists), { recursive: true })
    const packages = 'Package: small\nVersion: 1\nArchitecture: armhf\nFilename: small.deb\nSize: 0\n\n'
    writeFileSync(join(release, lists, 'Packages'), packages)
    const digest = createHash('sha256').update(packages).digest('hex')
    writeFileSync(
      join(release, 'Release'),
      `Suite: bookworm\nCodename: bookworm\nArchitectures: armhf\nComponents: main\nSHA256:\n ${digest} ${packages.length} ${lists}/Packages\n`,
    )
    const hostAptDir = join(dir, 'apt')
    mkdirSync(hostAptDir)
    return { dir, hostAptDir }
  }
  const source = (dir: string, suite: string) => `deb [trusted=yes] file:${dir} ${suite} main\n`

  test('an apt root is created without unavailable updates, which is reported', async () => {
    const { dir, hostAptDir } = makeRepository()
    writeFileSync(
      join(hostAptDir, 'sources.list'),
      source(dir, 'bookworm') + source(dir, 'bookworm-security'),
    )
    const told: string[] = []
    const report = (step: string) => void told.push(step)
    await createAptRoot({ dir: join(dir, 'root'), distribution, arch: 'armhf', hostAptDir, report })
    expect(told).toEqual([
      'continuing without the updates of bookworm: their lists for armhf cannot be read now',
    ])
  })

  test('an apt root for an architecture that the distribution does not support is rejected', async () => {
    const { dir, hostAptDir } = makeRepository()
    writeFileSync(join(hostAptDir, 'sources.list'), source(dir, 'bookworm'))
    const error = await failureOf(
      createAptRoot({ dir: join(dir, 'root'), distribution, arch: 'riscv64', hostAptDir }),
    )
    expect(error.code).toBe('IMAGE_BUILD_FAILED')
    expect(error.message).toContain('Debian GNU/Linux 12 (bookworm) provides no packages for riscv64')
  })

  test('an apt root is rejected if the lists of the release itself cannot be read', async () => {
    const { dir, hostAptDir } = makeRepository()
    writeFileSync(join(hostAptDir, 'sources.list'), source(`${dir}/elsewhere`, 'bookworm'))
    const error = await failureOf(
      createAptRoot({ dir: join(dir, 'root'), distribution, arch: 'armhf', hostAptDir }),
    )
    expect(error.message).toContain('Fetching the package lists failed')
  })
})
