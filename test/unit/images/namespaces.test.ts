import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { findNamespaceProblems } from '../../../images/debian/namespaces.js'
import { inspectNamespaces } from '../../../src/cli/doctor.js'
import { makePath, makeTemporaryDir } from '../host/fake-program.js'

const RESTRICTION = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns'

/** Makes the root folder of a system on which the user anna can build images, and a query for it. */
function makeSystem() {
  const root = makeTemporaryDir()
  const write = (path: string, text: string) => {
    mkdirSync(dirname(root + path), { recursive: true })
    writeFileSync(root + path, text)
  }
  write('/etc/os-release', 'ID=ubuntu\nVERSION_CODENAME=noble\n')
  write('/etc/subuid', 'bob:100000:65536\nanna:165536:65536\n')
  write('/etc/subgid', '1001:165536:65536\n')
  write('/proc/sys/user/max_user_namespaces', '63000\n')
  const path = makePath(root, { newuidmap: '/bin/true', newgidmap: '/bin/true' })
  return { root, write, path, query: { root, user: { name: 'anna', uid: 1001 }, env: { PATH: path } } }
}

test('a user with uidmap and subordinate ids, by name or number, can build the image debian', async () => {
  const { query } = makeSystem()
  expect(await findNamespaceProblems(query)).toEqual([])
  expect(await inspectNamespaces(query)).toEqual([
    {
      id: 'namespaces',
      label: 'Debian builds',
      state: 'ok',
      found: 'this user can build the image debian',
      fix: null,
    },
  ])
})

test('`withvm doctor` reports everything that a build of debian without root lacks, each with a fix', async () => {
  const { query, write, path } = makeSystem()
  rmSync(join(path, 'newuidmap'))
  write('/etc/subgid', 'anna2:100000:65536\n')
  write('/proc/sys/user/max_user_namespaces', '0\n')
  write(RESTRICTION, '1\n')
  expect(await inspectNamespaces(query)).toEqual([
    {
      id: 'namespaces',
      label: 'Debian builds',
      state: 'note',
      found: `this user cannot build the image debian: no newuidmap; no ids for anna in /etc/subgid; ${RESTRICTION} is 1; /proc/sys/user/max_user_namespaces is 0`,
      fix: [
        'Run `sudo apt-get install -y uidmap`.',
        'Run `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 anna`; use another range if another user has this one.',
        'Run `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`; a line in /etc/sysctl.d keeps it after a reboot.',
        'Run `sudo sysctl user.max_user_namespaces=15000`; a line in /etc/sysctl.d keeps it after a reboot.',
      ].join(' '),
    },
  ])
})

test("Ubuntu's restriction of user namespaces does not count if AppArmor has a profile for mmdebstrap", async () => {
  const { query, write } = makeSystem()
  write(RESTRICTION, '1\n')
  expect(await findNamespaceProblems(query)).toHaveLength(1)
  write(
    '/etc/apparmor.d/mmdebstrap',
    'profile mmdebstrap /usr/bin/mmdebstrap flags=(unconfined) {\n  userns,\n}\n',
  )
  expect(await findNamespaceProblems(query)).toEqual([])
})

test('root needs no user namespace, and a host without apt builds no images', async () => {
  const { query, write } = makeSystem()
  write('/etc/subuid', '')
  expect(await findNamespaceProblems({ ...query, user: { name: 'root', uid: 0 } })).toEqual([])
  write('/etc/os-release', 'ID=fedora\n')
  expect(await inspectNamespaces(query)).toEqual([])
})
