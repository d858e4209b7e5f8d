<%@ page contentType="application/json" trimDirectiveWhitespaces="true" %>
<% session.invalidate(); %>
{}
