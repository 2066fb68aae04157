//! The syntax tree of LogQL, as parsed: strings unquoted, literals as numbers, nothing simplified that printing must keep.

mod names;

use model::Matcher;
use smol_str::SmolStr;

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Answers streams.
    Log(LogExpr),
    /// Answers a vector, a matrix or a scalar.
    Metric(MetricExpr),
}

/// A stream selector and the stages after it.
#[derive(Clone, Debug, PartialEq)]
pub struct LogExpr {
    pub matchers: Vec<Matcher>,
    pub stages: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    LineFilter(LineFilter),
    /// `json` (all fields) or `json a="expr", b`.
    Json(Vec<Extraction>),
    Logfmt {
        strict: bool,
        keep_empty: bool,
        fields: Vec<Extraction>,
    },
    Regexp(SmolStr),
    Pattern(SmolStr),
    Unpack,
    LabelFilter(LabelFilter),
    LineFormat(SmolStr),
    LabelFormat(Vec<LabelFormat>),
    Decolorize,
    Drop(Vec<LabelSelector>),
    Keep(Vec<LabelSelector>),
}

/// A chain of one operator: `|= "a" or "b" or ip("10.0.0.0/8")`.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFilter {
    pub op: LineOp,
    /// At least one.
    pub operands: Vec<LineOperand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Matches,
    /// `!~`
    NotMatches,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LineOperand {
    Text(SmolStr),
    Ip(SmolStr),
}

/// `name="expression"`; a bare `name` has the expression `name`.
#[derive(Clone, Debug, PartialEq)]
pub struct Extraction {
    pub name: SmolStr,
    pub expression: SmolStr,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LabelFilter {
    String(Matcher),
    Number {
        name: SmolStr,
        op: CompareOp,
        value: f64,
    },
    /// The value in nanoseconds.
    Duration {
        name: SmolStr,
        op: CompareOp,
        value_ns: i64,
    },
    Bytes {
        name: SmolStr,
        op: CompareOp,
        value: u64,
    },
    Ip {
        name: SmolStr,
        negated: bool,
        pattern: SmolStr,
    },
    And(Box<LabelFilter>, Box<LabelFilter>),
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LabelFormat {
    /// `to=from`
    Rename { to: SmolStr, from: SmolStr },
    /// `to="template"`
    Template { to: SmolStr, template: SmolStr },
}

/// An operand of `drop` and `keep`.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelSelector {
    Name(SmolStr),
    Matcher(Matcher),
}

#[derive(Clone, Debug, PartialEq)]
pub enum MetricExpr {
    Literal(f64),
    /// `vector(n)`
    Vector(f64),
    Range(RangeAggregation),
    Aggregate(VectorAggregation),
    Binary(Box<Binary>),
    LabelReplace(Box<LabelReplace>),
    /// `variants(a, b) of ({...} [5m])`
    Variants {
        variants: Vec<MetricExpr>,
        of: Box<LogRange>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeOp {
    Count,
    Rate,
    RateCounter,
    BytesRate,
    BytesOver,
    Avg,
    Sum,
    Min,
    Max,
    Stdvar,
    Stddev,
    Quantile,
    First,
    Last,
    Absent,
}

/// `op(parameter, range) by (...)`
#[derive(Clone, Debug, PartialEq)]
pub struct RangeAggregation {
    pub op: RangeOp,
    /// The quantile of `quantile_over_time`.
    pub parameter: Option<f64>,
    pub range: LogRange,
    pub grouping: Option<Grouping>,
}

/// A log pipeline over a window, with what turns an entry into a number.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRange {
    pub log: LogExpr,
    /// The window, in nanoseconds.
    pub window_ns: i64,
    /// How far the window is moved into the past; negative moves it forward.
    pub offset_ns: i64,
    pub unwrap: Option<Unwrap>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Unwrap {
    pub label: SmolStr,
    pub conversion: Option<Conversion>,
    /// Label filters after `unwrap`.
    pub filters: Vec<LabelFilter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    Bytes,
    Duration,
    DurationSeconds,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Grouping {
    pub without: bool,
    pub labels: Vec<SmolStr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VectorOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    ApproxTopK,
    Sort,
    SortDesc,
}

#[derive(Clone, Debug, PartialEq)]
pub struct VectorAggregation {
    pub op: VectorOp,
    /// The k of topk, bottomk and approx_topk.
    pub parameter: Option<u64>,
    pub inner: Box<MetricExpr>,
    pub grouping: Option<Grouping>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub left: MetricExpr,
    pub right: MetricExpr,
    /// `bool`: a comparison answers 0 or 1 instead of filtering.
    pub return_bool: bool,
    pub matching: Option<VectorMatching>,
}

/// `on(...)` or `ignoring(...)`, with `group_left(...)` or `group_right(...)`.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    pub on: bool,
    pub labels: Vec<SmolStr>,
    pub group: Option<GroupSide>,
    /// The labels that `group_left` and `group_right` copy from the one side.
    pub include: Vec<SmolStr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSide {
    Left,
    Right,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LabelReplace {
    pub inner: MetricExpr,
    pub dst: SmolStr,
    pub replacement: SmolStr,
    pub src: SmolStr,
    pub regex: SmolStr,
}
