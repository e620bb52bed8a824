import { expect, test } from 'vitest'
import { planCopies } from '../../../src/cli/guests/cp.js'

test.each<[string[], object[]]>([
  [['a', 'web:/srv'], [{ direction: 'upload', guest: 'web', sources: ['a'], target: '/srv' }]],
  [
    ['web:/etc/os-release', '.'],
    [{ direction: 'download', guest: 'web', sources: ['/etc/os-release'], target: '.' }],
  ],
  // An empty path is the home folder; several sources require a folder as target.
  [
    ['./a:b', '/c:d', 'web:'],
    [{ direction: 'upload', guest: 'web', sources: ['./a:b', '/c:d'], target: './' }],
  ],
  [
    ['web:a', 'db:b', 'web:c', 'out'],
    [
      { direction: 'download', guest: 'web', sources: ['a', 'c'], target: 'out/' },
      { direction: 'download', guest: 'db', sources: ['b'], target: 'out/' },
    ],
  ],
])('`withvm cp` plans the copies of %j', (paths, plans) => {
  expect(planCopies(paths)).toEqual(plans)
})

test.each([[['a', 'b']], [['web:a', 'db:b']], [['a', 'web:b', 'c']], [['a', 'web:b', 'web:c']]])(
  '`withvm cp` rejects %j, which is not between this host and a guest',
  (paths) => {
    expect(() => planCopies(paths)).toThrow('`withvm cp` copies between this host and a guest.')
  },
)
