export { type Complexity, scoreComplexity } from './complexity/score-complexity.ts'
export { decide, type Route, type RouteRequest } from './decide.ts'
export { effectOf, type LabelledScore, proposeThresholds } from './propose-thresholds.ts'
