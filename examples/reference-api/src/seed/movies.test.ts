import { describe, expect, it } from 'vitest'
import { cleanMovie, parseReleaseDate, type RawMovie, readMovies } from './movies.js'

const RAW: RawMovie = {
  Title: 'Slam',
  'Major Genre': 'Drama',
  'Release Date': 'Oct 09 1998',
  'MPAA Rating': 'R',
  'Running Time min': null,
  Distributor: 'Trimark',
  Director: null,
  Source: 'Original Screenplay',
  'Worldwide Gross': 1087521,
  'Rotten Tomatoes Rating': 62,
  'IMDB Rating': 3.4,
  'IMDB Votes': 165
}

describe('the films of vega-datasets', () => {
  it('are 3,201, each with a title and an id of its own', async () => {
    const movies = await readMovies()
    expect(movies).toHaveLength(3201)
    expect(new Set(movies.map(({ id }) => id)).size).toBe(3201)
    expect(movies.every(({ title }) => typeof title === 'string' && title !== '')).toBe(true)
    expect(movies.every(({ releasedOn }) => releasedOn !== null && releasedOn < '2012')).toBe(true)
  })

  it.each([
    ['a number for a title', 1776, '1776'],
    ['no title', null, 'Untitled'],
    ['white space around a title', ' Slam ', 'Slam']
  ])('may have %s', (_, title, expected) => {
    expect(cleanMovie({ ...RAW, Title: title }, 1).title).toBe(expected)
  })
})

describe('a release date', () => {
  it.each([
    ['Jun 12 1998', '1998-06-12'],
    ['Dec 31 2046', '1946-12-31'],
    ['Jan 01 2011', '2011-01-01'],
    ['1998', null],
    ['Foo 12 1998', null],
    [null, null]
  ])('%s is %s', (text, expected) => {
    expect(parseReleaseDate(text)).toBe(expected)
  })
})
