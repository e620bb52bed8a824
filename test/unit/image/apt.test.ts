import { describe, expect, test } from 'vitest'
import { parsePrintedUris } from '../../../src/image/apt.js'
import {
  formatDeb822Sources,
  parseDeb822Sources,
  parseOneLineSources,
  selectDistributionSources,
} from '../../../src/image/apt-sources.js'
import { parseDistribution } from '../../../src/image/distribution.js'

describe('apt sources', () => {
  test('of the one-line form keep their keyring and drop what is for the host only', () => {
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

  test('of the deb822 form make one source of each address and suite', () => {
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

  test('of others than the distribution are left out', () => {
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

test("apt's list of files gives names and versions with their epochs", () => {
  const text = `'http://d/pool/q/x.deb' qemu-guest-agent_1%3a7.2+dfsg-7_amd64.deb 346 SHA256:ab\nnoise\n`
  expect(parsePrintedUris(text)).toEqual([{ name: 'qemu-guest-agent', version: '1:7.2+dfsg-7' }])
})

test('a derivative of Ubuntu counts as the Ubuntu that it is made from', () => {
  const mint =
    'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\nPRETTY_NAME="Linux Mint 22"\n'
  expect(parseDistribution(mint)).toEqual({ id: 'ubuntu', codename: 'noble', name: 'Linux Mint 22' })
  expect(parseDistribution('ID=fedora\nVERSION_CODENAME=x\n')).toBeUndefined()
})
