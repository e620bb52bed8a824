import { execFileSync } from 'node:child_process'
import { afterEach, expect, test, vi } from 'vitest'
import { findHostUser } from '../../../src/host/host-user.js'
import { failureOf } from '../../support/failure-of.js'

const isRoot = process.geteuid?.() === 0
const whenRoot = test.runIf(isRoot)
const lookUp = (...args: string[]) => Number(execFileSync('id', args, { encoding: 'utf8' }))

afterEach(() => {
  vi.unstubAllEnvs()
  if (isRoot) process.seteuid?.(0)
})

whenRoot('`findHostUser()` finds a user with its groups by name and by uid', async () => {
  const [uid, gid] = [lookUp('-u', 'nobody'), lookUp('-g', 'nobody')]
  const expected = {
    uid,
    gid,
    hasGroups: true,
    home: '/nonexistent',
    setpriv: expect.stringMatching(/\/setpriv$/),
  }
  expect(await findHostUser('nobody')).toEqual({ ...expected, name: 'nobody' })
  expect(await findHostUser(String(uid))).toEqual({ ...expected, name: String(uid) })
})

whenRoot('`uid:gid` needs no existing user and has no supplementary groups', async () => {
  const user = await findHostUser('54321:4321')
  expect(user).toMatchObject({ name: '54321:4321', uid: 54_321, gid: 4321, hasGroups: false, home: '/' })
})

whenRoot.each([
  ['no-such-user', '"no-such-user", which does not exist on this host', 'an existing user of the host'],
  ['54321', '"54321", which does not exist on this host', '`uid:gid`, or the uid of an existing user'],
  ['root', '"root", which is root', 'a user other than root'],
  ['0:5', '"0:5", which is root', 'a user other than root'],
])('the user %s is rejected with the reason', async (wanted, got, expected) => {
  expect(await findHostUser(wanted)).toEqual({ got, expected })
})

whenRoot('the error for a missing setpriv names its package', async () => {
  vi.stubEnv('PATH', '/nowhere')
  const error = await failureOf(findHostUser('54321:1'))
  expect(error.code).toBe('TOOL_NOT_FOUND')
  expect(error.message).toMatch(
    /The program setpriv, which runs QEMU as another user, was not found\.[\s\S]*util-linux/,
  )
})

test('`findHostUser()` rejects every user in a process that does not run as root', async () => {
  if (isRoot) process.seteuid?.('nobody')
  expect(await findHostUser('daemon')).toEqual({
    got: '"daemon" in a process that does not run as root',
    expected: 'a process that runs as root, or no `runAs` (QEMU already runs as the current user)',
  })
})
