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

whenRoot('a user is found by its name, and by its number, with its groups', async () => {
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

whenRoot('numbers with a group are taken as they are, with no other group', async () => {
  const user = await findHostUser('54321:4321')
  expect(user).toMatchObject({ name: '54321:4321', uid: 54_321, gid: 4321, hasGroups: false, home: '/' })
})

whenRoot.each([
  ['no-such-user', '"no-such-user", whom this host does not know', 'a user of this host'],
  ['54321', '"54321", whom this host does not know', '`uid:gid`, or a uid that this host knows'],
  ['root', '"root", who is root', 'another user than root'],
  ['0:5', '"0:5", who is root', 'another user than root'],
])('%s is refused, and why', async (wanted, got, expected) => {
  expect(await findHostUser(wanted)).toEqual({ got, expected })
})

whenRoot('without setpriv its package is named', async () => {
  vi.stubEnv('PATH', '/nowhere')
  const error = await failureOf(findHostUser('54321:1'))
  expect(error.code).toBe('TOOL_NOT_FOUND')
  expect(error.message).toMatch(
    /The program setpriv, which runs QEMU as another user, was not found\.[\s\S]*util-linux/,
  )
})

test('who is not root cannot have it', async () => {
  if (isRoot) process.seteuid?.('nobody')
  expect(await findHostUser('daemon')).toEqual({
    got: '"daemon" in a process that is not root\'s',
    expected: 'it where root starts the guest: QEMU runs as this user already, so leave `runAs` out',
  })
})
