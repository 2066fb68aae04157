//! Which functions a template names, so that one that does not exist is refused when the rule is written, as Go does, and
//! not when the alert is due.

use gotmpl::parse::{BranchNode, Expr, ListNode, Node, PipeNode};

/// What Prometheus's templates may call: its own functions and Go's. `query` and those that make links are refused when
/// they are called.
pub(super) const FUNCTIONS: [&str; 45] = [
    "and",
    "or",
    "not",
    "len",
    "index",
    "slice",
    "print",
    "printf",
    "println",
    "html",
    "js",
    "urlquery",
    "call",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "title",
    "toUpper",
    "toLower",
    "stripPort",
    "stripDomain",
    "match",
    "reReplaceAll",
    "parseDuration",
    "safeHtml",
    "args",
    "pathPrefix",
    "externalURL",
    "query",
    "first",
    "value",
    "label",
    "sortByLabel",
    "strvalue",
    "graphLink",
    "tableLink",
    "tmpl",
];

/// The first function in the list that does not exist.
pub(super) fn unknown_function(list: &ListNode) -> Option<String> {
    list.nodes.iter().find_map(|node| match node {
        Node::List(list) => unknown_function(list),
        Node::Action(action) => in_pipe(&action.pipe),
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => in_branch(branch),
        Node::Template(template) => template.pipe.as_ref().and_then(in_pipe),
        Node::Define(define) => unknown_function(&define.body),
        Node::Text(_) | Node::Break(_) | Node::Continue(_) => None,
    })
}

fn in_branch(branch: &BranchNode) -> Option<String> {
    let otherwise = || branch.else_body.as_ref().and_then(unknown_function);
    in_pipe(&branch.pipe).or_else(|| unknown_function(&branch.body)).or_else(otherwise)
}

fn in_pipe(pipe: &PipeNode) -> Option<String> {
    pipe.commands.iter().flat_map(|command| &command.args).find_map(in_expr)
}

fn in_expr(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(_, name) if !FUNCTIONS.contains(&name.as_str()) => Some(name.to_string()),
        Expr::Pipe(_, pipe) => in_pipe(pipe),
        Expr::Chain(_, inner, _) => in_expr(inner),
        _ => None,
    }
}
