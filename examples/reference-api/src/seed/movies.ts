import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** A film as the store sells it. */
export interface Movie {
  readonly id: number
  readonly title: string
  readonly genre: string | null
  readonly releasedOn: string | null
  readonly mpaaRating: string | null
  readonly runningMinutes: number | null
  readonly distributor: string | null
  readonly director: string | null
  readonly basedOn: string | null
  readonly worldwideGross: number | null
  readonly criticsPercent: number | null
  readonly imdbRating: number | null
  readonly imdbVotes: number | null
}

/** A film as the data set has it. A title may be a number ("1776") or missing. */
export interface RawMovie {
  readonly Title: string | number | null
  readonly 'Major Genre': string | null
  readonly 'Release Date': string | null
  readonly 'MPAA Rating': string | null
  readonly 'Running Time min': number | null
  readonly Distributor: string | null
  readonly Director: string | null
  readonly Source: string | null
  readonly 'Worldwide Gross': number | null
  readonly 'Rotten Tomatoes Rating': number | null
  readonly 'IMDB Rating': number | null
  readonly 'IMDB Votes': number | null
}

/** The data was collected in 2010; it has a few films announced for 2011. */
const LAST_YEAR = 2011
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** The 3,201 films of vega-datasets, in the order of the file; the place in the file is the id, from 1. */
export async function readMovies(): Promise<Movie[]> {
  const entry = createRequire(import.meta.url).resolve('vega-datasets')
  const text = await readFile(join(dirname(entry), '../data/movies.json'), 'utf8')
  return (JSON.parse(text) as RawMovie[]).map((raw, index) => cleanMovie(raw, index + 1))
}

export function cleanMovie(raw: RawMovie, id: number): Movie {
  return {
    id,
    title: raw.Title === null ? 'Untitled' : String(raw.Title).trim(),
    genre: raw['Major Genre'],
    releasedOn: parseReleaseDate(raw['Release Date']),
    mpaaRating: raw['MPAA Rating'],
    runningMinutes: raw['Running Time min'],
    distributor: raw.Distributor,
    director: raw.Director,
    basedOn: raw.Source,
    worldwideGross: raw['Worldwide Gross'],
    criticsPercent: raw['Rotten Tomatoes Rating'],
    imdbRating: raw['IMDB Rating'],
    imdbVotes: raw['IMDB Votes']
  }
}

/**
 * "Jun 12 1998" → "1998-06-12". The file was made from years of two digits, so "The Big Parade" of 1925 stands there as
 * 2025: what lies after the data's own time is a century too late.
 */
export function parseReleaseDate(text: string | null): string | null {
  const parts = /^([A-Z][a-z]{2}) (\d{2}) (\d{4})$/.exec(text ?? '')
  if (parts === null) return null
  const month = MONTHS.indexOf(parts[1] ?? '') + 1
  if (month === 0) return null
  const year = Number(parts[3])
  return `${year > LAST_YEAR ? year - 100 : year}-${String(month).padStart(2, '0')}-${parts[2]}`
}
