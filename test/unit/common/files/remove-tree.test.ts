import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { removeTree, removeTreeSync } from '../../../../src/common/files/remove-tree.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

/** Makes a folder with files at several levels, and a link to a folder that must stay. */
function makeTree(): { readonly tree: string; readonly victim: string } {
  const base = ownTmpdir()
  const [tree, victim] = [join(base, 'tree'), join(base, 'victim')]
  mkdirSync(join(tree, 'a/b/c'), { recursive: true })
  mkdirSync(victim)
  writeFileSync(join(victim, 'precious'), 'x')
  for (const dir of ['', 'a', 'a/b', 'a/b/c']) writeFileSync(join(tree, dir, 'file'), 'x')
  symlinkSync(victim, join(tree, 'a/link'))
  return { tree, victim }
}

test.each([
  ['removeTree', removeTree],
  ['removeTreeSync', async (path: string) => removeTreeSync(path)],
])('%s removes a folder, and does not follow links in it', async (_, remove) => {
  const { tree, victim } = makeTree()
  await remove(tree)
  expect(existsSync(tree)).toBe(false)
  expect(readdirSync(victim)).toEqual(['precious'])
  await remove(tree) // a missing folder is not an error
})

test('removing a folder that is replaced with a link at the same time does not follow the link', async () => {
  const { tree, victim } = makeTree()
  // Repeatedly exchanges a folder with a link to the victim for two seconds.
  const swap = `
    import { mkdirSync, renameSync, symlinkSync, unlinkSync } from 'node:fs'
    const attempt = (work) => { try { work() } catch {} }
    const path = '${tree}/0'
    for (const until = Date.now() + 2000; Date.now() < until; ) {
      attempt(() => mkdirSync(path + '/deep', { recursive: true }))
      attempt(() => renameSync(path, '${tree}/aside'))
      attempt(() => symlinkSync('${victim}', path))
      attempt(() => unlinkSync(path))
      attempt(() => renameSync('${tree}/aside', path))
    }`
  let isOver = false
  const swapping = execa(process.execPath, ['--input-type=module', '-e', swap]).finally(() => {
    isOver = true
  })
  while (!isOver) await removeTree(tree).catch(() => {})
  await swapping
  expect(readdirSync(victim)).toEqual(['precious'])
})
