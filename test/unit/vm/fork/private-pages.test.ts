import { expect, test } from 'vitest'
import { findMappings, RunFinder } from '../../../../src/vm/fork/private-pages.js'

/** Entries of a page map, by letter: private, swapped out, unchanged page of the file, absent. */
const ENTRIES = { p: 1n << 63n, s: 1n << 62n, f: (1n << 63n) | (1n << 61n), '-': 0n } as const

function findRuns(...pieces: readonly string[]): string[] {
  const runs: string[] = []
  const finder = new RunFinder((first, last) => runs.push(`${first}-${last}`))
  let page = 0
  for (const piece of pieces) {
    const entries = Buffer.alloc(piece.length * 8)
    for (const [index, letter] of [...piece].entries()) {
      entries.writeBigUInt64LE(ENTRIES[letter as keyof typeof ENTRIES], index * 8)
    }
    finder.scan(entries, page)
    page += piece.length
  }
  finder.end()
  return runs
}

const GAP = '-'.repeat(16)

test('private pages, also those that are swapped out, are joined to runs', () => {
  expect(findRuns('ffpps-')).toEqual(['2-5'])
  expect(findRuns('f-f-')).toEqual([])
})

test('a short gap is part of a run, a longer one separates two', () => {
  expect(findRuns(`p${GAP}p`)).toEqual(['0-18'])
  expect(findRuns(`p${GAP}-p`)).toEqual(['0-1', '18-19'])
})

test('a run may continue in the next piece of the page map', () => {
  expect(findRuns('fpp', 'pf', `${GAP}${GAP}p`)).toEqual(['1-4', '37-38'])
})

test('only private, writable mappings of the file count', () => {
  const maps = `7f0000000000-7f0000002000 rw-p 00000000 fe:00 42 /run/memory
7f0000002000-7f0000003000 rw-p 00002000 fe:00 42 /run/memory (deleted)
7f0000003000-7f0000004000 r--p 00003000 fe:00 42 /run/memory
7f0000004000-7f0000005000 rw-s 00000000 fe:00 42 /run/memory
7f0000005000-7f0000006000 rw-p 00000000 fe:00 421 /run/other
7f0000006000-7f0000007000 rw-p 00000000 00:00 0
`
  expect(findMappings(maps, 42)).toEqual([
    { start: 0x7f0000000000, end: 0x7f0000002000, offset: 0 },
    { start: 0x7f0000002000, end: 0x7f0000003000, offset: 0x2000 },
  ])
})
