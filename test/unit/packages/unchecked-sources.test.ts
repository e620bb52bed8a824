import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { inspectSources } from '../../../src/cli/doctor.js'
import { warnOfUncheckedSources } from '../../../src/packages/apt.js'
import { findUncheckedSources } from '../../../src/packages/unchecked-sources.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const ONE_LINE = `# deb [trusted=yes] http://a bookworm main
deb [arch=amd64 trusted=yes] http://a bookworm main
deb [trusted=no] http://a bookworm-updates main
deb [ allow-insecure=yes ] http://a bookworm-security main
deb [trusted=yes] http://third.party stable main
`
const DEB822 = `Types: deb
URIs: http://a
Suites: bookworm bookworm-updates
Components: main

Types: deb
# Trusted: no
URIs: http://b
Suites: bookworm-security
Trusted: yes
Components: main

Enabled: no
Types: deb
URIs: http://c
Suites: bookworm
Allow-Weak: yes
`

test('sources whose signatures apt does not verify are found with their lines', () => {
  expect(findUncheckedSources('sources.list', ONE_LINE, 'bookworm')).toEqual([
    { file: 'sources.list', line: 2, option: 'trusted=yes' },
    { file: 'sources.list', line: 4, option: 'allow-insecure=yes' },
  ])
  expect(findUncheckedSources('a.sources', DEB822, 'bookworm')).toEqual([
    { file: 'a.sources', line: 10, option: 'Trusted: yes' },
  ])
})

test('a build and `withvm doctor` report unverified sources with file and line', async () => {
  const aptDir = ownTmpdir()
  mkdirSync(join(aptDir, 'sources.list.d'))
  writeFileSync(join(aptDir, 'sources.list'), '')
  const file = join(aptDir, 'sources.list.d', 'debian.sources')
  writeFileSync(file, DEB822)
  const osReleasePath = join(aptDir, 'os-release')
  writeFileSync(osReleasePath, 'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian 12"\n')
  const lines: string[] = []
  const warn = (line: string) => void lines.push(line)
  await warnOfUncheckedSources(
    { id: 'debian', codename: 'bookworm', name: 'Debian 12' },
    { hostAptDir: aptDir, warn },
  )
  expect(lines).toEqual([
    `the image is built from packages of Debian 12 whose signatures apt does not verify: ${file}:10 has 'Trusted: yes'`,
  ])
  expect(await inspectSources({ osReleasePath, aptDir })).toMatchObject([
    { id: 'sources', state: 'note', found: expect.stringContaining(`${file}:10 has 'Trusted: yes'`) },
  ])
  writeFileSync(file, DEB822.replace('Trusted: yes\n', ''))
  expect(await inspectSources({ osReleasePath, aptDir })).toEqual([])
})
