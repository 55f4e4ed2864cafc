//! What a FHIR path is about: the resource type, and nothing that names a patient.
//!
//! Only words of the closed list below leave this file, so that no part of a path that a client
//! wrote reaches a record. Standard: HL7 FHIR R4 (4.0.1), RESTful API and resource list.

use crate::path;

/// The resource type that a path is about; `None` when it names none.
///
/// The first segment that is a type counts, however it is spelled. `metadata` is the
/// CapabilityStatement.
pub fn resource_type(path: &str) -> Option<&'static str> {
    path.split('/').find_map(|segment| {
        let segment = path::decode(segment)?;
        // Where an encoded slash is allowed, it divides for whoever decodes first.
        segment.split('/').find_map(|segment| match segment {
            "metadata" => Some("CapabilityStatement"),
            segment => RESOURCE_TYPES
                .binary_search(&segment)
                .ok()
                .map(|at| RESOURCE_TYPES[at]),
        })
    })
}

/// The resource types of FHIR R4, in order.
#[rustfmt::skip]
const RESOURCE_TYPES: &[&str] = &[
    "Account", "ActivityDefinition", "AdverseEvent", "AllergyIntolerance", "Appointment", "AppointmentResponse", "AuditEvent",
    "Basic", "Binary", "BiologicallyDerivedProduct", "BodyStructure", "Bundle",
    "CapabilityStatement", "CarePlan", "CareTeam", "CatalogEntry", "ChargeItem", "ChargeItemDefinition", "Claim", "ClaimResponse",
    "ClinicalImpression", "CodeSystem", "Communication", "CommunicationRequest", "CompartmentDefinition", "Composition",
    "ConceptMap", "Condition", "Consent", "Contract", "Coverage", "CoverageEligibilityRequest", "CoverageEligibilityResponse",
    "DetectedIssue", "Device", "DeviceDefinition", "DeviceMetric", "DeviceRequest", "DeviceUseStatement", "DiagnosticReport",
    "DocumentManifest", "DocumentReference",
    "EffectEvidenceSynthesis", "Encounter", "Endpoint", "EnrollmentRequest", "EnrollmentResponse", "EpisodeOfCare",
    "EventDefinition", "Evidence", "EvidenceVariable", "ExampleScenario", "ExplanationOfBenefit",
    "FamilyMemberHistory", "Flag",
    "Goal", "GraphDefinition", "Group", "GuidanceResponse",
    "HealthcareService",
    "ImagingStudy", "Immunization", "ImmunizationEvaluation", "ImmunizationRecommendation", "ImplementationGuide",
    "InsurancePlan", "Invoice",
    "Library", "Linkage", "List", "Location",
    "Measure", "MeasureReport", "Media", "Medication", "MedicationAdministration", "MedicationDispense", "MedicationKnowledge",
    "MedicationRequest", "MedicationStatement", "MedicinalProduct", "MedicinalProductAuthorization",
    "MedicinalProductContraindication", "MedicinalProductIndication", "MedicinalProductIngredient",
    "MedicinalProductInteraction", "MedicinalProductManufactured", "MedicinalProductPackaged", "MedicinalProductPharmaceutical",
    "MedicinalProductUndesirableEffect", "MessageDefinition", "MessageHeader", "MolecularSequence",
    "NamingSystem", "NutritionOrder",
    "Observation", "ObservationDefinition", "OperationDefinition", "OperationOutcome", "Organization", "OrganizationAffiliation",
    "Parameters", "Patient", "PaymentNotice", "PaymentReconciliation", "Person", "PlanDefinition", "Practitioner",
    "PractitionerRole", "Procedure", "Provenance",
    "Questionnaire", "QuestionnaireResponse",
    "RelatedPerson", "RequestGroup", "ResearchDefinition", "ResearchElementDefinition", "ResearchStudy", "ResearchSubject",
    "RiskAssessment", "RiskEvidenceSynthesis",
    "Schedule", "SearchParameter", "ServiceRequest", "Slot", "Specimen", "SpecimenDefinition", "StructureDefinition",
    "StructureMap", "Subscription", "Substance", "SubstanceNucleicAcid", "SubstancePolymer", "SubstanceProtein",
    "SubstanceReferenceInformation", "SubstanceSourceMaterial", "SubstanceSpecification", "SupplyDelivery", "SupplyRequest",
    "Task", "TerminologyCapabilities", "TestReport", "TestScript",
    "ValueSet", "VerificationResult", "VisionPrescription",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_without_repetition() {
        assert!(RESOURCE_TYPES.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_type_is_recognized_and_an_identifier_is_not() {
        assert_eq!(resource_type("/fhir/Patient/1"), Some("Patient"));
        assert_eq!(resource_type("/fhir/Observation"), Some("Observation"));
        assert_eq!(resource_type("/fhir/metadata"), Some("CapabilityStatement"));
        assert_eq!(resource_type("/fhir/Patient/Device"), Some("Patient"));
        assert_eq!(resource_type("/fhir/%50atient/1"), Some("Patient"));
        assert_eq!(resource_type("/fhir/x%2FPatient"), Some("Patient"));
        assert_eq!(resource_type("/fhir/patient/1"), None);
        assert_eq!(resource_type("/fhir/Mustermann"), None);
        assert_eq!(resource_type("/"), None);
    }
}
