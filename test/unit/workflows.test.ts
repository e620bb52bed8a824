import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

const WORKFLOWS = resolve(import.meta.dirname, '../../.github/workflows')

test('each action of the workflows is pinned to a commit, with its version as a comment', () => {
  const names = readdirSync(WORKFLOWS)
  expect(names).toEqual(['ci.yml', 'release.yml'])
  for (const name of names) {
    const text = readFileSync(join(WORKFLOWS, name), 'utf8')
    expect(parse(text)).toMatchObject({ permissions: {}, jobs: {} })
    const uses = [...text.matchAll(/uses: (.+)/g)].map(([, action]) => action)
    expect(uses.length).toBeGreaterThan(1)
    for (const action of uses) expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
  }
})
